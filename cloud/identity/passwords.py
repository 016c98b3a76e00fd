"""Argon2 passwords, hashed and checked in a thread and only a few at a time."""

import asyncio
from concurrent.futures import ThreadPoolExecutor
from functools import cache

from pwdlib import PasswordHash
from pwdlib.hashers.argon2 import Argon2Hasher

# Each check takes 64 MiB and a core for some tens of milliseconds: a flood of sign-ins must queue, not swap.
_threads = ThreadPoolExecutor(max_workers=4, thread_name_prefix="argon2")
_hasher = PasswordHash((Argon2Hasher(),))


async def hash_password(password: str) -> str:
    """Argon2id hash with its parameters and salt."""
    return await asyncio.get_running_loop().run_in_executor(_threads, _hasher.hash, password)


async def verify_password(password: str, password_hash: str | None) -> tuple[bool, str | None]:
    """Whether the password is right, and a new hash when the old one's parameters are weaker than today's.

    Without a hash (unknown user) it takes as long as with one, and is wrong.
    """
    right, stronger = await asyncio.get_running_loop().run_in_executor(
        _threads, lambda: _hasher.verify_and_update(password, password_hash or _nobodys_hash())
    )
    return (right, stronger) if password_hash else (False, None)


@cache
def _nobodys_hash() -> str:
    return _hasher.hash("the password of nobody")
