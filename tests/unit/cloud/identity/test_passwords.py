"""Passwords cost what they should, and tell nothing of who exists."""

from pwdlib.hashers.argon2 import Argon2Hasher

from cloud.identity.passwords import hash_password, verify_password


async def test_a_hash_costs_64_mib_and_three_passes() -> None:
    made = await hash_password("correct horse battery")
    assert made.startswith("$argon2id$v=19$m=65536,t=3,p=4$")
    assert await verify_password("correct horse battery", made) == (True, None)
    assert (await verify_password("wrong", made))[0] is False


async def test_a_weaker_hash_is_made_anew_and_nobody_has_no_password() -> None:
    weak = Argon2Hasher(time_cost=1, memory_cost=64).hash("password")
    right, stronger = await verify_password("password", weak)
    assert right
    assert stronger is not None
    assert stronger.startswith("$argon2id$v=19$m=65536,")
    assert await verify_password("the password of nobody", None) == (False, None)
