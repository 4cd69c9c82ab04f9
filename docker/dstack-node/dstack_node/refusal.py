"""How a request is refused."""

from http import HTTPStatus


class RefusedError(Exception):
    """Goes to whoever asked, who may be anybody: the reason holds nothing that is not theirs or public."""

    def __init__(self, status: HTTPStatus, reason: str) -> None:
        super().__init__(reason)
        self.status = status
