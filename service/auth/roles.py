"""The roles that a key or token gives."""

from enum import IntEnum


class Role(IntEnum):
    """Each role may do what those below it may."""

    PUBLIC = 0
    VIEWER = 1
    PATHOLOGIST = 2
    OPERATOR = 3
    ADMIN = 4
