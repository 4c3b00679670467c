"""What the Hub says of a commit's files, for `cache verify --remote`."""

from __future__ import annotations

from modelscope_cli.analysis.cache.facts import Known, algorithm_of
from modelscope_cli.sources.hub import errors as hub_errors
from modelscope_cli.sources.hub import listing as hub_listing
from modelscope_cli.sources.hub.session import Session


class Remote:
    """One session with the Hub, whatever the number of commits asked for."""

    def __init__(self) -> None:
        self._session = Session()

    def listing(self, repo_id: str, commit: str) -> dict[str, Known]:
        """Every file of a commit by path. Raises NotFound and NetworkTrouble.

        A list that leaves out files, or their hashes, is none.
        """
        session = self._session
        url = hub_listing.info_url(session.endpoint, repo_id, commit)
        answer = session.get(url, limit=hub_listing.MAX_LISTING_BYTES)
        listing = hub_listing.parse(answer, session, repo_id, commit, hashes=True)
        known = {}
        for path, entry in listing.files.items():
            algorithm = algorithm_of(entry.oid or "")
            if entry.oid is None or algorithm is None:
                raise hub_errors.not_the_hub(session, f"the hash of {path} is none: {entry.oid}")
            known[path] = Known(entry.size, entry.oid, algorithm)
        return known

    def close(self) -> None:
        """Close the connections."""
        self._session.close()
