"""The globals that tensors need, and what calling each would make, without calling it.

The names are those of torch's own `weights_only` list (torch 2.13), and the few older ones
that the same tensors were written with.
"""

from __future__ import annotations

from functools import partial
from itertools import product
from typing import TYPE_CHECKING

from modelscope_cli.dtypes import TORCH, TORCH_STORAGES, DType
from modelscope_cli.formats.pickles.nodes import BadArguments, Blob, Call, Global, Node, Pairs

if TYPE_CHECKING:
    from modelscope_cli.formats.pickles.nodes import Builder

Args = tuple[object, ...]


class Storage:
    """A run of bytes that tensors look into. `start` and `elements` say which part of it."""

    __slots__ = ("bytes", "dtype", "elements", "key", "start")

    def __init__(self, dtype: DType, key: str, elements: int, start: int = 0) -> None:
        self.dtype = dtype
        self.key = key
        self.elements = elements
        self.bytes = elements * dtype.block_bytes  # of this part
        self.start = start  # in elements, into the root storage


class PickledStorage:
    """A storage that is a whole torch file inside a bytes literal (plain pickle.dump)."""

    __slots__ = ("blob",)

    def __init__(self, blob: Blob) -> None:
        self.blob = blob


class Tensor(Node):
    """A tensor as the rebuild functions' arguments tell it; checked when it is listed.

    `storage` is None where the file holds no data for it, and then `dtype` is not; else a
    `dtype` of None means the storage's.
    """

    __slots__ = ("dtype", "offset", "shape", "storage", "stride")

    def __init__(
        self,
        storage: Storage | PickledStorage | None,
        offset: object,
        shape: object,
        stride: object,
        dtype: DType | None = None,
    ) -> None:
        self.storage = storage
        self.offset = offset
        self.shape = shape
        self.stride = stride
        self.dtype = dtype

    def build(self, state: object, /) -> None:
        """Older tensors got (storage, offset, size, stride) as their state."""
        if type(state) is tuple and len(state) == 4 and type(state[0]) is Storage:
            self.storage, self.offset, self.shape, self.stride = state
            self.dtype = state[0].dtype


class Sparse(Node):
    """A sparse tensor: its dense shape, and the stored tensors, the values last."""

    __slots__ = ("parts", "shape")

    def __init__(self, shape: object, parts: list[Tensor]) -> None:
        self.shape = shape
        self.parts = parts


class Wrapper(Call):
    """A tensor subclass without storage of its own: other tensors are in its state."""

    __slots__ = ("dtype", "shape", "stride")

    def __init__(self, kind: object, dtype: DType, shape: object, stride: object) -> None:
        super().__init__(kind, ())
        self.dtype = dtype
        self.shape = shape
        self.stride = stride


class Lost(Node):
    """A tensor that depends on the result of a call that is never made."""

    __slots__ = ()

    def build(self, _state: object, /) -> None:
        """Nothing more to lose."""


def _need(args: Args, count: int) -> None:
    if len(args) < count:
        raise BadArguments(f"a tensor is rebuilt from {len(args)} arguments, not {count}")


def _tensor(args: Args) -> Tensor | Lost:
    """_rebuild_tensor(storage, storage_offset, size, stride), and _v2 with more behind."""
    _need(args, 4)
    storage, offset, shape, stride = args[:4]
    if type(storage) is Storage or type(storage) is PickledStorage:
        return Tensor(storage, offset, shape, stride)
    return _lost(storage, "a tensor is rebuilt from something that is no storage")


def _lost(culprit: object, otherwise: str) -> Lost:
    if isinstance(culprit, Call | Lost) or (type(culprit) is Global and not culprit.known):
        return Lost()
    raise BadArguments(otherwise)


def _dtype(value: object) -> DType:
    name = value.name.removeprefix("torch.") if type(value) is Global else ""
    if name not in TORCH:
        raise BadArguments(f"{name or 'something else'} stands where a dtype of torch is due")
    return TORCH[name]


def _tensor_v3(args: Args) -> Tensor | Lost:
    """_rebuild_tensor_v3(storage, offset, size, stride, requires_grad, hooks, dtype)."""
    _need(args, 7)
    tensor = _tensor(args)
    if type(tensor) is Tensor:
        tensor.dtype = _dtype(args[6])
    return tensor


def _without_storage(args: Args) -> Tensor:
    """_rebuild_meta_tensor_no_storage(dtype, size, stride, requires_grad)."""
    _need(args, 3)
    return Tensor(None, 0, args[1], args[2], _dtype(args[0]))


def _wrapper(args: Args) -> Wrapper:
    """_rebuild_wrapper_subclass(cls, dtype, size, stride, offset, layout, device, grad)."""
    _need(args, 4)
    return Wrapper(args[0], _dtype(args[1]), args[2], args[3])


def _first(args: Args) -> object:
    """_rebuild_parameter(data, …), _rebuild_nested_tensor(buffer, …) and their like."""
    _need(args, 1)
    if isinstance(args[0], Tensor | Sparse | Wrapper | Lost):
        return args[0]
    return _lost(args[0], "a parameter is rebuilt from something that is no tensor")


def _from_type(args: Args) -> object:
    """_rebuild_from_type_v2(function, type, arguments, state): a subclass of Tensor."""
    _need(args, 4)
    function, _, inner, state = args[:4]
    if type(function) is Global and function.build is not None and type(inner) is tuple:
        made = function.build(inner)
    else:
        made = Call(function, inner)
    if isinstance(made, Wrapper | Call):
        made.build(state)
    return made


def _sparse(args: Args) -> object:
    """_rebuild_sparse_tensor(layout, (indices…, values, size[, is_coalesced]))."""
    _need(args, 2)
    data = args[1]
    if type(data) is not tuple or not 3 <= len(data) <= 4:
        raise BadArguments("a sparse tensor is rebuilt from something else than its parts")
    parts = [part for part in data if type(part) is Tensor]
    shape = next((part for part in data if type(part) is tuple), None)
    if len(parts) < 2 or shape is None:
        return _lost(data[0], "a sparse tensor is rebuilt without indices, values or size")
    return Sparse(shape, parts)


def _tensor_class(dtype: DType, args: Args) -> object:
    """torch.FloatTensor() before its state, torch.sparse.FloatTensor(indices, values, size)."""
    if len(args) >= 3:
        return _sparse((None, args[:3]))
    if len(args) == 1 and isinstance(args[0], Tensor):
        return args[0]
    return Tensor(None, 0, (0,), (1,), dtype)


def _ordered_dict(args: Args) -> object:
    """OrderedDict(), OrderedDict([[key, value], …]), Counter({…})."""
    if not args:
        return Pairs()
    if type(args[0]) is Pairs:
        return args[0]
    if type(args[0]) is list:
        return Pairs(args[0])
    raise BadArguments("an OrderedDict is made from something else than pairs")


def _same(args: Args) -> object:
    """torch.Size((2, 3)), torch.device("cpu"), set([…]), _get_layout("torch.sparse_coo")."""
    return args[0] if len(args) == 1 else tuple(args)


def _encoded(args: Args) -> object:
    """_codecs.encode(text, "latin1"): how protocol 2 writes bytes. The text will do."""
    return args[0] if args else ""


def _pickled_storage(args: Args) -> PickledStorage:
    if len(args) != 1 or type(args[0]) is not Blob:
        raise BadArguments("a storage is loaded from something else than bytes")
    return PickledStorage(args[0])


def _type_tag(args: Args) -> object:
    """torch.jit._pickle.restore_type_tag(value, type), build_tensorlist(values)."""
    _need(args, 1)
    return args[0]


_REBUILD: dict[str, Builder] = {
    "_rebuild_tensor": _tensor,
    "_rebuild_tensor_v2": _tensor,
    "_rebuild_tensor_v3": _tensor_v3,
    "_rebuild_qtensor": _tensor,
    "_rebuild_parameter": _first,
    "_rebuild_parameter_with_state": _first,
    "_rebuild_nested_tensor": _first,
    "_rebuild_device_tensor_from_cpu_tensor": _first,
    "_rebuild_device_tensor_from_numpy": _first,
    "_rebuild_xla_tensor": _first,
    "_rebuild_sparse_tensor": _sparse,
    "_rebuild_sparse_csr_tensor": _sparse,
    "_rebuild_meta_tensor_no_storage": _without_storage,
    "_rebuild_wrapper_subclass": _wrapper,
}
_OTHERS: dict[str, Builder | None] = {
    "torch._tensor._rebuild_from_type_v2": _from_type,
    "torch.nn.parameter.Parameter": _first,
    "torch.Tensor": partial(_tensor_class, TORCH["float32"]),
    "torch.Size": _same,
    "torch.device": _same,
    "torch.serialization._get_layout": _same,
    "collections.OrderedDict": _ordered_dict,
    "collections.Counter": _ordered_dict,
    "builtins.set": _same,
    "builtins.complex": _same,
    "builtins.bytearray": _same,
    "_codecs.encode": _encoded,
}
_JIT = ("build_intlist", "build_tensorlist", "build_doublelist", "build_boollist")
_QSCHEMES = ("per_tensor_affine", "per_tensor_symmetric", "per_channel_affine",
             "per_channel_symmetric", "per_channel_affine_float_qparams")  # fmt: skip
_KINDS = ("BFloat16", "Bool", "Byte", "Char", "Double", "Float", "Half", "Int", "Long", "Short")
_SMALL_INTEGERS = [f"{sign}int{bits}" for sign in ("", "u") for bits in range(1, 8)]

STORAGES = {
    f"{module}.{name}": dtype
    for module in ("torch", "torch.cuda")
    for name, dtype in TORCH_STORAGES.items()
    if module == "torch" or not name.startswith("Q")
}
STORAGES["torch.storage.UntypedStorage"] = TORCH["uint8"]


def _tensor_classes() -> dict[str, Builder | None]:
    modules = ("torch", "torch.cuda", "torch.sparse", "torch.cuda.sparse")
    return {
        f"{module}.{kind}Tensor": partial(_tensor_class, TORCH_STORAGES[f"{kind}Storage"])
        for module, kind in product(modules, _KINDS)
        if not (module.endswith("sparse") and kind == "Bool")
    }


BUILDERS: dict[str, Builder | None] = {
    **_tensor_classes(),
    **dict.fromkeys((f"torch.{name}" for name in (*TORCH, *_QSCHEMES, *_SMALL_INTEGERS)), None),
    **dict.fromkeys((*STORAGES, "torch.storage.TypedStorage"), None),
    **{f"torch._utils.{name}": build for name, build in _REBUILD.items()},
    **_OTHERS,
}
SCRIPT_BUILDERS: dict[str, Builder | None] = {
    **BUILDERS,
    **{f"torch.jit._pickle.{name}": _type_tag for name in (*_JIT, "restore_type_tag")},
    "torch.jit._pickle.build_tensor_from_id": _type_tag,
}
# Runs torch.load without weights_only on the bytes: foreign, but what is in them can be seen.
IMITATED: dict[str, Builder] = {"torch.storage._load_from_bytes": _pickled_storage}
SCRIPT_PREFIX = "__torch__."


class Storages:
    """Reads persistent ids, and remembers every storage that a file's pickles speak of."""

    def __init__(self) -> None:
        self.by_key: dict[str, Storage] = {}

    def __call__(self, identifier: object) -> object:
        """("storage", class, key, location, elements[, view]) or ("module", class, …)."""
        if type(identifier) is not tuple or len(identifier) < 2:
            raise BadArguments("a persistent id is no tuple of torch's")
        if identifier[0] == "module":  # a class and its source code, in whole old models
            return identifier[1]
        if identifier[0] != "storage" or not 5 <= len(identifier) <= 6:
            raise BadArguments("a persistent id names no storage")
        whole = self._once(*identifier[1:5])
        view = identifier[5] if len(identifier) == 6 else None
        return whole if view is None else _part(whole, view)

    def _once(self, kind: object, key: object, _location: object, count: object) -> Storage:
        dtype = STORAGES.get(kind.name) if type(kind) is Global else None
        if dtype is None:
            name = kind.name if type(kind) is Global else "something that is no class"
            raise BadArguments(f"a storage is of an unknown class: {name}")
        if type(key) not in (str, int) or type(count) is not int or count < 0:
            raise BadArguments("a storage has no proper key or element count")
        storage = Storage(dtype, str(key), count)
        known = self.by_key.setdefault(storage.key, storage)
        if known.bytes != storage.bytes:
            sizes = f"{known.bytes:,} bytes and {storage.bytes:,} bytes"
            raise BadArguments(f"storage {storage.key[:80]!r} has {sizes}")
        return known if known.dtype is dtype else storage


def _part(whole: Storage, view: object) -> Storage:
    """A view into a storage, as files before torch 0.4 have them: (key, offset, elements)."""
    if type(view) is not tuple or len(view) != 3:
        raise BadArguments("a view of a storage is no tuple of torch's")
    _, start, count = view
    if type(start) is not int or type(count) is not int or min(start, count) < 0:
        raise BadArguments("a view of a storage has no proper place")
    if start + count > whole.elements:
        raise BadArguments(f"a view ends at element {start + count:,} of {whole.elements:,}")
    return Storage(whole.dtype, whole.key, count, start)
