"""A Hub of our own on 127.0.0.1, faithful to the protocol that huggingface_hub speaks."""

from tests.hub_server.repos import Content, Repo, from_folder, sparse
from tests.hub_server.server import HubServer

__all__ = ["Content", "HubServer", "Repo", "from_folder", "sparse"]
