"""`mscope memory`: the GPU memory that a model takes, part by part."""

# No `from __future__ import annotations`: Typer evaluates signatures at run time.

from typing import TYPE_CHECKING, Annotated, NamedTuple

import typer

from modelscope_cli import load
from modelscope_cli.analysis.memory.modes import BITS
from modelscope_cli.options import Model, Opening, Output, choice
from modelscope_cli.options import command as command_
from modelscope_cli.report import Report

if TYPE_CHECKING:
    from modelscope_cli.analysis.memory.cards.devices import Cards
    from modelscope_cli.analysis.memory.training.step import Training as StepTraining

WEIGHTS_PANEL = "How weights are held"
RUN_PANEL = "What is run"
CARDS_PANEL = "On which cards"
TRAIN_PANEL = "Training"
CHECK_PANEL = "Beyond headers"


class Weights(NamedTuple):
    """How weights are held."""

    bits: Annotated[
        str | None,
        choice("--bits", names=BITS[::-1], help="Only this row.", panel=WEIGHTS_PANEL),
    ] = None
    quant: Annotated[
        str | None,
        typer.Option(
            metavar="SCHEME",
            help="nf4, fp4, int8 (bitsandbytes); gptq, awq, fp8, mxfp4, nvfp4, q8_0, q4_k "
            "as ideal packing.",
            rich_help_panel=WEIGHTS_PANEL,
            autocompletion=lambda: _schemes(),
        ),
    ] = None
    double_quant: Annotated[
        bool,
        typer.Option(
            "--double-quant",
            help="4 bit with its scales quantized too.",
            rich_help_panel=WEIGHTS_PANEL,
        ),
    ] = False
    dtype: Annotated[
        str | None,
        typer.Option(
            metavar="DTYPE",
            help="Of what is not quantized; the checkpoint's by default.",
            rich_help_panel=WEIGHTS_PANEL,
        ),
    ] = None
    transformers: Annotated[
        str,
        choice("--transformers", names=("5", "4"), help="Which release.", panel=WEIGHTS_PANEL),
    ] = "5"


class Run(NamedTuple):
    """What is run."""

    batch: Annotated[
        str,
        typer.Option("--batch", metavar="N|fit", help="Sequences.", rich_help_panel=RUN_PANEL),
    ] = "1"
    context: Annotated[
        str | None,
        typer.Option(
            "--context",
            metavar="N|max|fit",
            help="Tokens in the cache, prompt and answer: 4096, 32k (= 32,768).",
            rich_help_panel=RUN_PANEL,
        ),
    ] = None
    encoder_context: Annotated[
        int | None,
        typer.Option(
            metavar="N",
            min=1,
            help="Tokens of the encoder, where there is one.",
            rich_help_panel=RUN_PANEL,
        ),
    ] = None
    kv_dtype: Annotated[
        str | None,
        typer.Option(
            "--kv-dtype",
            metavar="DTYPE",
            help="Of the KV cache: bf16, fp8, int8 ….",
            rich_help_panel=RUN_PANEL,
        ),
    ] = None
    runtime: Annotated[
        str,
        typer.Option(
            metavar="BYTES",
            help="What CUDA itself takes of each card; an assumption.",
            rich_help_panel=RUN_PANEL,
        ),
    ] = "512MiB"


class CardOptions(NamedTuple):
    """On which cards."""

    gpus: Annotated[
        str | None,
        typer.Option(
            metavar="CARDS",
            help="4x80GiB, 2xa100-80gb, gpu:a100-sxm4-80gb:4, auto.",
            rich_help_panel=CARDS_PANEL,
        ),
    ] = None
    check: Annotated[
        bool,
        typer.Option(
            "--check", help="Exit with 1 unless it is known to fit.", rich_help_panel=CARDS_PANEL
        ),
    ] = False


class Training(NamedTuple):
    """Training instead of running."""

    train: Annotated[
        str | None,
        choice("--train", names=("full", "lora"), help="What is trained.", panel=TRAIN_PANEL),
    ] = None
    optimizer: Annotated[
        str,
        choice("--optimizer", names=("adamw", "adamw-8bit"), help="Its states.", panel=TRAIN_PANEL),
    ] = "adamw"
    gradient_checkpointing: Annotated[
        bool,
        typer.Option(
            "--gradient-checkpointing",
            help="Activations are made again instead of kept.",
            rich_help_panel=TRAIN_PANEL,
        ),
    ] = False
    lora_rank: Annotated[
        int, typer.Option(metavar="R", min=1, help="Of LoRA.", rich_help_panel=TRAIN_PANEL)
    ] = 16
    lora_targets: Annotated[
        str,
        typer.Option(
            metavar="NAME,NAME",
            help="Linear layers that get one; all: every one but the head.",
            rich_help_panel=TRAIN_PANEL,
        ),
    ] = "all"


class Deeper(NamedTuple):
    """Ask transformers itself."""

    exact: Annotated[
        bool,
        typer.Option(
            "--exact",
            help="Build the class without weights and compare (needs the live extra).",
            rich_help_panel=CHECK_PANEL,
        ),
    ] = False
    measure: Annotated[
        bool,
        typer.Option(
            "--measure",
            help="Load the model for real and compare (needs the live extra).",
            rich_help_panel=CHECK_PANEL,
        ),
    ] = False
    code: Annotated[
        bool,
        typer.Option(
            "--code",
            help="Print the from_pretrained call that the figure stands for.",
            rich_help_panel=CHECK_PANEL,
        ),
    ] = False


@command_
def command(
    model: Model = None,
    *,
    weights: Weights,
    run: Run,
    cards: CardOptions,
    training: Training,
    deeper: Deeper,
    opening: Opening,
    output: Output,
) -> Report:
    """Tell the GPU memory that a model takes, part by part, from its headers alone."""
    # Other commands read only the options above: for a settings file, for completion.
    from modelscope_cli import footprint
    from modelscope_cli.analysis.memory import request
    from modelscope_cli.reports import memory as reports

    request.contradictions(gpus=cards.gpus, check=cards.check, fits=_to_fit(run))
    request.needs_training(training.train, _changed(training))
    runtime = request.size("--runtime", run.runtime)
    asked = request.asked(
        **weights._asdict(),
        batch=run.batch,
        context=run.context,
        encoder_context=run.encoder_context,
        kv_dtype=run.kv_dtype,
        training=_trained(training),
    )
    named = None if cards.gpus is None else _cards(cards.gpus)
    facts = load.open_model(model, load.How(*opening, each=True))
    found = footprint.of(facts, asked, runtime, named, footprint.Deeper(*deeper))
    return reports.report(facts, found, check=cards.check)


def _cards(text: str) -> "Cards":
    from modelscope_cli.footprint.cards import named

    return named(text)


def _trained(asked: Training) -> "StepTraining | None":
    if asked.train is None:
        return None
    from modelscope_cli.analysis.memory.training.step import Training as Step

    targets = tuple(name for text in asked.lora_targets.split(",") if (name := text.strip()))
    return Step(
        asked.train, asked.optimizer, asked.gradient_checkpointing, asked.lora_rank, targets
    )


def _changed(training: Training) -> list[str]:
    """The flags of options that are not as by default."""
    pairs = zip(training._fields, training, Training(), strict=True)
    changed = (field for field, value, default in pairs if value != default and field != "train")
    return ["--" + field.replace("_", "-") for field in changed]


def _to_fit(run: Run) -> list[str]:
    options = {"--batch": run.batch, "--context": run.context}
    return [flag for flag, value in options.items() if value == "fit"]


def _schemes() -> list[str]:
    from modelscope_cli.analysis import packing

    return list(packing.SCHEME_NAMES)
