"""The tree against the definition of RFC 9162, as it stands there; proofs, and what is none."""

from __future__ import annotations

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vault.audit.errors import ProofRefused
from vault.audit.merkle import (
    Tree,
    consistency_proof,
    inclusion_proof,
    leaf_hash,
    verify_consistency,
    verify_inclusion,
)


def digest(data: bytes) -> bytes:
    return hashlib.blake2b(data, digest_size=32, person=b"replayvault-mkl1").digest()


def naive(entries: list[bytes]) -> bytes:
    """MTH of section 2.1.1."""
    if not entries:
        return digest(b"")
    if len(entries) == 1:
        return digest(b"\x00" + entries[0])
    split = 1
    while split * 2 < len(entries):
        split *= 2
    return digest(b"\x01" + naive(entries[:split]) + naive(entries[split:]))


entries = st.lists(st.binary(max_size=8), max_size=70)
some = st.lists(st.binary(max_size=8), min_size=1, max_size=70)


@given(entries)
def test_a_growing_tree_has_the_root_of_the_definition(made: list[bytes]) -> None:
    tree = Tree()
    assert tree.root() == naive([])
    for number, entry in enumerate(made, start=1):
        tree.add(leaf_hash(entry))
        assert tree.size == number
        assert tree.root() == naive(made[:number])
        assert len(tree._peaks) == number.bit_count()


@given(some, st.data())
def test_a_leaf_is_proven_and_nothing_else(made: list[bytes], data: st.DataObject) -> None:
    index = data.draw(st.integers(0, len(made) - 1))
    leaves, root, size = [leaf_hash(each) for each in made], naive(made), len(made)
    proof = inclusion_proof(leaves, index)
    verify_inclusion(leaves[index], proof, index=index, size=size, root=root)
    other = data.draw(st.integers(0, size).filter(lambda number: number != index))
    wrong: list[tuple[bytes, list[bytes], int, bytes]] = [
        (leaf_hash(b"another entry"), proof, index, root),
        (leaves[index], [*proof, root], index, root),
        (leaves[index], proof, index, digest(b"another root")),
    ]
    if proof:
        wrong.append((leaves[index], proof[:-1], index, root))
        wrong.append((leaves[index], [digest(b"x"), *proof[1:]], index, root))
    if other == size or leaves[other] != leaves[index]:
        wrong.append((leaves[index], proof, other, root))
    for leaf, steps, place, over in wrong:
        with pytest.raises(ProofRefused):
            verify_inclusion(leaf, steps, index=place, size=size, root=over)


@given(some, st.data())
def test_an_older_tree_is_proven_and_no_other(made: list[bytes], data: st.DataObject) -> None:
    old = data.draw(st.integers(1, len(made)))
    leaves, size = [leaf_hash(each) for each in made], len(made)
    proof = consistency_proof(leaves, old)
    old_root, root = naive(made[:old]), naive(made)
    verify_consistency(proof, old_size=old, old_root=old_root, size=size, root=root)
    wrong: list[tuple[list[bytes], int, bytes, bytes]] = [
        (proof, old, naive([*made[: old - 1], b"rewritten"]), root),
        (proof, old, old_root, naive([*made[:-1], b"rewritten"])),
        ([*proof, root], old, old_root, root),
        (proof, 0, old_root, root),
        (proof, size + 1, old_root, root),
    ]
    wrong += [(proof[:-1], old, old_root, root)] if proof else []
    for steps, old_size, older, newer in wrong:
        with pytest.raises(ProofRefused):
            verify_consistency(steps, old_size=old_size, old_root=older, size=size, root=newer)


@pytest.mark.parametrize("size", [0, 1, 2, 3, 7, 8, 9])
def test_a_leaf_that_is_not_there_is_no_question(size: int) -> None:
    leaves = [leaf_hash(bytes([number])) for number in range(size)]
    for index in (-1, size):
        with pytest.raises(ValueError, match="no such leaf"):
            inclusion_proof(leaves, index)
    for old in (0, size + 1):
        with pytest.raises(ValueError, match="at least one leaf"):
            consistency_proof(leaves, old)


def test_a_node_cannot_pass_for_a_leaf() -> None:
    one, other = leaf_hash(b"1"), leaf_hash(b"2")
    assert leaf_hash(one + other) != naive([b"1", b"2"])


@pytest.mark.parametrize("size", [1, 2, 4, 8])
def test_a_proof_that_ends_below_the_root_is_refused(size: int) -> None:
    """A full tree's proof, said to be one of a tree with a leaf more: right as far as it goes."""
    leaves = [leaf_hash(bytes([number])) for number in range(size)]
    root = naive([bytes([number]) for number in range(size)])
    with pytest.raises(ProofRefused):
        verify_inclusion(leaves[0], inclusion_proof(leaves, 0), index=0, size=size + 1, root=root)
