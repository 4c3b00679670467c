"""What the Hub says that a snapshot's files are: for `cache verify --remote`."""

from __future__ import annotations

from modelscope_cli.analysis.cache.facts import Known, Listing, algorithm_of
from modelscope_cli.sources.hub import listing as hub_listing
from modelscope_cli.sources.hub.session import Session


class Remote:
    """The Hub, asked for one commit after the other."""

    def __init__(self) -> None:
        self._session = Session()

    def listing(self, repo_id: str, commit: str) -> Listing:
        """Every file of a commit. Raises NotFound and NetworkTrouble.

        A list that leaves out files is none; a file without a hash is there, and not known.
        """
        session = self._session
        url = hub_listing.info_url(session.endpoint, repo_id, commit)
        answer = session.get(url, limit=hub_listing.MAX_LISTING_BYTES)
        found = hub_listing.parse(answer, session, repo_id, commit, hashes=True)
        known = {}
        for path, entry in found.files.items():
            algorithm = algorithm_of(entry.oid or "")
            if entry.oid is not None and algorithm is not None:
                known[path] = Known(entry.size, entry.oid, algorithm)
        return Listing(frozenset(found.files), known)

    def close(self) -> None:
        """Close the connections."""
        self._session.close()
