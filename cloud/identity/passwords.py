"""Argon2 passwords, hashed and checked in a thread and only a few at a time."""

import asyncio
from functools import cache

from pwdlib import PasswordHash
from pwdlib.hashers.argon2 import Argon2Hasher

# Each check takes 64 MiB and a core for some tens of milliseconds: a flood of sign-ins must queue, not swap.
_AT_ONCE = 4
_hasher = PasswordHash((Argon2Hasher(),))
_slots: dict[asyncio.AbstractEventLoop, asyncio.Semaphore] = {}


async def hash_password(password: str) -> str:
    """Argon2id hash with its parameters and salt."""
    async with _slot():
        return await asyncio.to_thread(_hasher.hash, password)


async def verify_password(password: str, password_hash: str | None) -> tuple[bool, str | None]:
    """Whether the password is right, and a new hash when the old one's parameters are weaker than today's.

    Without a hash (unknown user) it takes as long as with one, and is wrong.
    """
    async with _slot():
        right, stronger = await asyncio.to_thread(_hasher.verify_and_update, password, password_hash or _nobodys_hash())
    return (right, stronger) if password_hash else (False, None)


@cache
def _nobodys_hash() -> str:
    return _hasher.hash("the password of nobody")


def _slot() -> asyncio.Semaphore:
    loop = asyncio.get_running_loop()
    return _slots.setdefault(loop, asyncio.Semaphore(_AT_ONCE))
