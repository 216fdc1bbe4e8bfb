"""What happens while modules are imported, beside that names are bound."""

from pathlib import Path

from brain_diffuser.workflow.code_key.files import Node
from brain_diffuser.workflow.code_key.resolving import Names


class Effects(Names):
    """The statements of modules that may do more than to bind names."""

    def __init__(self, root: str | Path):
        super().__init__(root)
        self.effects_of: dict[str, list[int]] = {}

    def effects(self, where: str) -> list[int]:
        """The statements of a module that may do more than to bind names."""
        if where not in self.effects_of:
            module = self.module(where)
            places = range(len(module.statements) if module else 0)
            self.effects_of[where] = [place for place in places if self.is_effect(where, place)]
        return self.effects_of[where]

    def is_effect(self, where: str, place: int) -> bool:
        statement = self._statement(where, place)
        calls = (self.resolve(where, each) for each in statement.calls)
        return (
            statement.is_noisy
            or not all(len(found) == 1 and self.is_record(found[0]) for found in calls)
            or any(self.is_hooked(found) for each in statement.bases for found in self.resolve(where, each))
        )

    def is_record(self, node: str | Node, seen: tuple[Node, ...] = ()) -> bool:
        """Whether a node is a class that runs no code of the project when an instance is made."""
        if isinstance(node, str):
            return bool(seen)  # a library's base class, but no library's function
        classes = [self._statement(node[1], place) for place in self.places(*node[1:])] if node[0] == "name" else []
        if len(classes) != 1 or node in seen or not classes[0].is_class or classes[0].constructors:
            return False
        bases = (found for each in classes[0].bases for found in self.resolve(node[1], each))
        return all(self.is_record(each, (*seen, node)) for each in bases)

    def is_hooked(self, node: str | Node, seen: tuple[Node, ...] = ()) -> bool:
        """Whether a class that is derived from a node runs code of the project."""
        if isinstance(node, str) or node[0] != "name" or node in seen:
            return not isinstance(node, str) and node not in seen
        classes = [self._statement(node[1], place) for place in self.places(*node[1:])]
        bases = [found for one in classes for each in one.bases for found in self.resolve(node[1], each)]
        return any(
            "__init_subclass__" in each.constructors or each.is_noisy or not each.is_class for each in classes
        ) or any(self.is_hooked(each, (*seen, node)) for each in bases)
