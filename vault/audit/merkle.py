"""Merkle trees as in RFC 9162, section 2.1, over BLAKE2b-256. Pure.

    leaf = H(00 ‖ data)    node = H(01 ‖ left ‖ right)    empty tree = H("")
    H = BLAKE2b-256(person = "replayvault-mkl1")

Invariants:
- leaves and nodes are hashed apart, so that no node can pass for a leaf;
- a growing tree keeps the roots of its full subtrees alone: one hash for each bit of its size that is set;
- verifying raises, and returns nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from keys import contexts
from keys.digest import blake2b
from vault.audit.errors import ProofRefused

HASH_BYTES: Final = 32


def leaf_hash(data: bytes) -> bytes:
    """The hash of a leaf."""
    return _hash(b"\x00" + data)


def node_hash(left: bytes, right: bytes) -> bytes:
    """The hash of two subtrees, side by side."""
    return _hash(b"\x01" + left + right)


class Tree:
    """A tree that grows at its right edge."""

    __slots__ = ("_peaks", "size")

    def __init__(self) -> None:
        self.size = 0
        self._peaks: list[bytes] = []  # of full subtrees, the largest first

    def add(self, leaf: bytes) -> None:
        """Append a leaf, by its hash."""
        carried, size = leaf, self.size
        while size & 1:
            carried = node_hash(self._peaks.pop(), carried)
            size >>= 1
        self._peaks.append(carried)
        self.size += 1

    def root(self) -> bytes:
        """The root of all leaves so far."""
        if not self._peaks:
            return _hash(b"")
        *larger, root = self._peaks
        for peak in reversed(larger):
            root = node_hash(peak, root)
        return root


def root_of(leaves: Sequence[bytes]) -> bytes:
    """The root over hashes of leaves."""
    tree = Tree()
    for leaf in leaves:
        tree.add(leaf)
    return tree.root()


def inclusion_proof(leaves: Sequence[bytes], index: int) -> list[bytes]:
    """The way from leaf `index` to the root (RFC 9162, section 2.1.3.1)."""
    if not 0 <= index < len(leaves):
        raise ValueError("the tree has no such leaf")
    if len(leaves) == 1:
        return []
    split = _split(len(leaves))
    if index < split:
        return [*inclusion_proof(leaves[:split], index), root_of(leaves[split:])]
    return [*inclusion_proof(leaves[split:], index - split), root_of(leaves[:split])]


def verify_inclusion(leaf: bytes, proof: Sequence[bytes], *, index: int, size: int, root: bytes) -> None:
    """Return if `leaf` is number `index` of the tree (RFC 9162, section 2.1.3.2); raises `ProofRefused`."""
    _require(0 <= index < size, "the tree has no such leaf")
    place, last, found = index, size - 1, leaf
    for step in proof:
        _require(last != 0, "the proof is longer than the way to the root")
        if place & 1 or place == last:
            found = node_hash(step, found)
            while not place & 1 and place:
                place, last = place >> 1, last >> 1
        else:
            found = node_hash(found, step)
        place, last = place >> 1, last >> 1
    _require((last, found) == (0, root), "the proof does not lead to the root")


def consistency_proof(leaves: Sequence[bytes], old_size: int) -> list[bytes]:
    """That the first `old_size` leaves are the tree of before (RFC 9162, section 2.1.4.1)."""
    if not 0 < old_size <= len(leaves):
        raise ValueError("an older tree has at least one leaf, and no more than the newer one")
    return [] if old_size == len(leaves) else _subproof(leaves, old_size, is_whole=True)


def verify_consistency(
    proof: Sequence[bytes], *, old_size: int, old_root: bytes, size: int, root: bytes
) -> None:
    """Return if the older tree is the beginning of the newer one (RFC 9162, 2.1.4.2); raises `ProofRefused`."""
    _require(0 < old_size <= size, "an older tree has at least one leaf, and no more than the newer one")
    if old_size == size:
        _require(not proof and old_root == root, "two trees of one size differ")
        return
    steps = [old_root, *proof] if old_size & (old_size - 1) == 0 else list(proof)
    _require(bool(steps), "the proof is too short")
    place, last = old_size - 1, size - 1
    while place & 1:
        place, last = place >> 1, last >> 1
    older = newer = steps[0]
    for step in steps[1:]:
        _require(last != 0, "the proof is longer than the way to the root")
        if place & 1 or place == last:
            older, newer = node_hash(step, older), node_hash(step, newer)
            while not place & 1 and place:
                place, last = place >> 1, last >> 1
        else:
            newer = node_hash(newer, step)
        place, last = place >> 1, last >> 1
    shown = (last, older, newer) == (0, old_root, root)
    _require(shown, "the newer tree does not begin with the older one")


def _subproof(leaves: Sequence[bytes], old_size: int, *, is_whole: bool) -> list[bytes]:
    if old_size == len(leaves):
        return [] if is_whole else [root_of(leaves)]
    split = _split(len(leaves))
    if old_size <= split:
        return [*_subproof(leaves[:split], old_size, is_whole=is_whole), root_of(leaves[split:])]
    return [*_subproof(leaves[split:], old_size - split, is_whole=False), root_of(leaves[:split])]


def _require(holds: bool, sentence: str) -> None:  # noqa: FBT001 - reads as a sentence
    if not holds:
        raise ProofRefused(sentence)


def _split(size: int) -> int:
    """The largest power of two below `size`."""
    return 1 << (size - 1).bit_length() - 1


def _hash(data: bytes) -> bytes:
    return blake2b(data, person=contexts.PERSON_AUDIT_TREE, size_bytes=HASH_BYTES)
