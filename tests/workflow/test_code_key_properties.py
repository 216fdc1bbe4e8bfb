"""Families of edits: what changes behaviour changes the keys of exactly the scripts that reach it; no other does."""

import ast
import contextlib
import copy
import dis
import importlib
import io
import json
import random
import runpy
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from brain_diffuser.workflow import provenance
from brain_diffuser.workflow.code_key import sentences

pytestmark = pytest.mark.long

ROOT = Path(provenance.__file__).parents[2]
SCRIPTS = sorted(
    path.relative_to(ROOT / "workflow_scripts").as_posix() for path in (ROOT / "workflow_scripts").rglob("*.py")
)
PACKAGES = ("brain_diffuser", "demo")
DEFINITIONS = (ast.FunctionDef, ast.ClassDef)


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    """The project's code, to be edited and put back."""
    folder = tmp_path_factory.mktemp("project")
    for name in PACKAGES:
        left_out = shutil.ignore_patterns("__pycache__", "models", "images", "haxby2001")
        shutil.copytree(ROOT / name, folder / name, ignore=left_out)
    shutil.copytree(ROOT / "workflow_scripts", folder / "workflow_scripts")
    return folder


KEYS = """
import json, pathlib, sys
from brain_diffuser.workflow import provenance
for line in sys.stdin:
    root = pathlib.Path(line.strip())
    code = provenance.Code(root)
    print(json.dumps({name: code.key(root / "workflow_scripts" / name) for name in sys.argv[1:]}), flush=True)
"""


@pytest.fixture(scope="module")
def keys():
    """A function of a project's folder: the keys of its scripts, {script: key}.

    They take hundreds of thousands of small calls, so they are made in a process that checks no types.
    """
    call, pipe = [sys.executable, "-c", KEYS, *SCRIPTS], subprocess.PIPE
    with subprocess.Popen(call, cwd=ROOT, stdin=pipe, stdout=pipe, text=True, encoding="utf-8") as process:

        def of(folder):
            process.stdin.write(f"{folder}\n")
            process.stdin.flush()
            return json.loads(process.stdout.readline())

        yield of
        process.stdin.close()


def modules(root):
    """Every module's name, file and tree."""
    for package in PACKAGES:
        for path in sorted((root / package).rglob("*.py")):
            name = ".".join(path.relative_to(root).with_suffix("").parts).removesuffix(".__init__")
            yield name, path, ast.parse(path.read_text(encoding="utf-8"))


# An oracle that knows nothing of how keys are made: it asks Python's compiler which names a statement reads.


class Stripped(ast.NodeTransformer):
    """A program without types of arguments and variables, and without what its errors say."""

    in_class = False

    def visit_ClassDef(self, node):
        before, self.in_class = self.in_class, True
        self.generic_visit(node)
        self.in_class = before
        return node

    def visit_FunctionDef(self, node):
        before, self.in_class = self.in_class, False
        for argument in ast.walk(node.args):
            if isinstance(argument, ast.arg):
                argument.annotation = None
        node.returns = None
        self.generic_visit(node)
        self.in_class = before
        return node

    def visit_AnnAssign(self, node):
        if self.in_class:
            return node
        self.generic_visit(node)
        return ast.Assign([node.target], node.value) if node.value else ast.Pass()

    def visit_Raise(self, node):
        """Texts among the arguments of an error, or of what makes one, are taken out; what else is named counts."""
        for call in ast.walk(node.exc) if node.exc else ():
            if isinstance(call, ast.Call):
                call.args = [each for each in call.args if not sentences.is_sentence(each)]
                call.keywords = [each for each in call.keywords if not sentences.is_sentence(each.value)]
        return node


def chains(code):
    """The global names that a code object and those within it read, each with the attributes that follow."""
    found, local = [], {}
    instructions = list(dis.get_instructions(code))
    imported = ""
    for place, here in enumerate(instructions):
        following = instructions[place + 1 :]
        if here.opname == "IMPORT_NAME":
            imported = here.argval
            level = next(each.argval for each in reversed(instructions[:place]) if isinstance(each.argval, int))
            found.append(("import", level, imported, None))
        elif here.opname == "IMPORT_FROM":
            found.append(("import", level, imported, here.argval))
            local[following[0].argval] = (level, imported, here.argval)
        elif here.opname in ("LOAD_GLOBAL", "LOAD_NAME") or (
            here.opname in ("LOAD_FAST", "LOAD_DEREF", "LOAD_CLOSURE") and here.argval in local
        ):
            attributes = []
            for each in following:
                if each.opname not in ("LOAD_ATTR", "LOAD_METHOD"):
                    break
                attributes.append(each.argval)
            root = local.get(here.argval, here.argval)
            found.append(("name", root, tuple(attributes)))
    for constant in code.co_consts:
        if hasattr(constant, "co_code"):
            found += chains(constant)
    return found


class Oracle:
    """What every script reaches: {(module, name of a definition)}."""

    def __init__(self, root):
        self.trees = {name: Stripped().visit(tree) for name, _, tree in modules(root)}
        self.packages = {name for name, path, _ in modules(root) if path.name == "__init__.py"}
        self.bound, self.read = {}, {}
        for name, tree in self.trees.items():
            self.add(name, tree)

    def add(self, name, tree):
        """Note what a module's statements bind and read; what does more than to bind goes by the name ""."""
        for statement in tree.body:
            code = compile(ast.fix_missing_locations(ast.Module([statement], [])), name, "exec")
            bound = [each.argval for each in dis.get_instructions(code) if each.opname == "STORE_NAME"]
            is_effect = not isinstance(statement, (*DEFINITIONS, ast.Assign, ast.Import, ast.ImportFrom)) or not bound
            is_main = isinstance(statement, ast.If) and "__main__" in ast.unparse(statement.test)
            if (isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant)) or is_main:
                continue
            for each in ["", *bound] if is_effect else bound:
                self.bound.setdefault(name, {}).setdefault(each, []).append(statement)
                self.read.setdefault((name, each), []).extend(chains(code))
            if isinstance(statement, ast.Import | ast.ImportFrom):
                self.read.setdefault((name, ""), []).extend(each for each in chains(code) if each[0] == "import")

    def reached(self, script_path):
        tree = Stripped().visit(ast.parse(script_path.read_text(encoding="utf-8")))
        self.bound.pop("script", None)
        for key in [key for key in self.read if key[0] == "script"]:
            del self.read[key]
        self.add("script", tree)
        found, waiting = set(), [("script", "")]
        while waiting:
            here = waiting.pop()
            if here not in found and here[0] not in provenance.SURROUNDINGS:
                found.add(here)
                for chain in self.read.get(here, ()):
                    waiting += self.denoted(here[0], chain)
        return found

    def denoted(self, where, chain):
        if chain[0] == "import":
            base = self.base(where, *chain[1:3])
            return [(each, "") for each in (*self.above(base), f"{base}.{chain[3]}") if each in self.trees]
        _, root, attributes = chain
        if isinstance(root, tuple):
            return self.of_module(self.base(where, *root[:2]), (root[2], *attributes))
        if root == "globals":
            return [(where, each) for each in self.bound[where]]
        found = []
        for statement in self.bound.get(where, {}).get(root, ()):
            if isinstance(statement, ast.ImportFrom):
                (alias,) = (each for each in statement.names if root in (each.asname, each.name))
                base = self.base(where, statement.level, statement.module or "")
                found += self.of_module(base, (alias.name, *attributes))
            elif isinstance(statement, ast.Import):
                for alias in statement.names:
                    if root == (alias.asname or alias.name.partition(".")[0]):
                        found += self.of_module(alias.name if alias.asname else root, attributes)
            else:
                found.append((where, root))
        return found

    def above(self, name):
        parts = name.split(".")
        return [".".join(parts[:length]) for length in range(1, len(parts) + 1)]

    def base(self, where, level, module):
        if not level:
            return module
        package = where if where in self.packages else where.rpartition(".")[0]
        parts = package.split(".")[: len(package.split(".")) - level + 1]
        return ".".join([*parts, *filter(None, [module])])

    def of_module(self, name, attributes):
        if name not in self.trees or not attributes:
            return []
        if attributes[0] in self.bound.get(name, {}):
            return self.denoted(name, ("name", attributes[0], attributes[1:]))
        return self.of_module(f"{name}.{attributes[0]}", attributes[1:])


# Mutations


def says(node):
    """Whether a node has sentences that people read, and no result."""
    if isinstance(node, ast.Call):
        return ast.unparse(node.func).endswith(tuple(name.rpartition(".")[2] for name in sentences.CHECKS))
    annotation = node.returns if isinstance(node, ast.FunctionDef) else getattr(node, "annotation", None)
    return "Sentence" in (ast.unparse(annotation) if annotation else "")


class Meaningful(ast.NodeVisitor):
    """The nodes of a definition whose change changes what it does."""

    def __init__(self):
        self.found = []
        self.is_said = False

    def visit(self, node):
        before, self.is_said = self.is_said, self.is_said or says(node)
        self.visit_meaningful(node)
        self.is_said = before

    def visit_meaningful(self, node):
        if self.is_said and isinstance(node, ast.Constant) and isinstance(node.value, str):
            return
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant | ast.Call):
            return  # docstrings, and perhaps log lines
        if isinstance(node, ast.Raise | ast.JoinedStr | ast.arg):
            return
        if (isinstance(node, ast.Constant) and isinstance(node.value, int | float | str)) or isinstance(
            node, ast.BinOp
        ):
            self.found.append(node)
        elif isinstance(node, ast.Compare | ast.BoolOp | ast.Return | ast.Attribute):
            self.found.append(node)
        if isinstance(node, ast.FunctionDef):
            for each in (*node.args.defaults, *node.decorator_list, *node.body):
                self.visit(each)
        elif isinstance(node, ast.AnnAssign):
            if node.value:
                self.visit(node.value)
        elif isinstance(node, ast.Assert):
            self.visit(node.test)
        else:
            self.generic_visit(node)


def mutate(node):
    """Change what a node means."""
    if isinstance(node, ast.Constant):
        node.value = not node.value if isinstance(node.value, bool) else node.value * 2 + type(node.value)(1)
    elif isinstance(node, ast.BinOp):
        node.op = ast.Sub() if isinstance(node.op, ast.Add) else ast.Add()
    elif isinstance(node, ast.Compare):
        node.ops = [ast.Gt() if isinstance(each, ast.Lt) else ast.Lt() for each in node.ops]
    elif isinstance(node, ast.BoolOp):
        node.op = ast.Or() if isinstance(node.op, ast.And) else ast.And()
    elif isinstance(node, ast.Return):
        node.value = ast.Tuple([node.value] if node.value else [], ast.Load())
    else:
        node.attr += "_of_another"


def meaningful(statement):
    """What can be changed in a definition. Another function that a module calls may act when the module is imported."""
    visitor = Meaningful()
    visitor.visit(statement)
    if not isinstance(statement, ast.Assign):
        return visitor.found
    called = {id(each.func) for each in ast.walk(statement) if isinstance(each, ast.Call)}
    return [each for each in visitor.found if id(each) not in called]


def definitions(tree):
    """The names of the definitions that can be changed, with what can be changed in them."""
    for place, statement in enumerate(tree.body):
        found = meaningful(statement) if isinstance(statement, (*DEFINITIONS, ast.Assign)) else []
        if found:
            target = statement.targets[0] if isinstance(statement, ast.Assign) else statement
            name = getattr(target, "name", getattr(target, "id", ""))
            if name and name != "__version__":
                yield name, place, len(found)


def test_a_change_of_a_definition_reaches_exactly_the_scripts_that_reach_it(project, keys):
    """Some changes, drawn from all that can be made to any definition of the project."""
    oracle, before = Oracle(project), keys(project)
    reached = {script: oracle.reached(project / "workflow_scripts" / script) for script in SCRIPTS}
    drawn = random.Random(0)
    possible = [(module, path, each) for module, path, tree in modules(project) for each in definitions(tree)]
    whole = (*provenance.SURROUNDINGS, "demo.scenes")  # the last looks into its globals
    some = drawn.sample([each for each in possible if each[0] not in whole], 20)
    for module, path, (name, place, n_nodes) in some:
        text = path.read_text(encoding="utf-8")
        tree = ast.parse(text)
        mutate(meaningful(tree.body[place])[drawn.randrange(n_nodes)])
        path.write_text(ast.unparse(ast.fix_missing_locations(tree)), encoding="utf-8")
        after = keys(project)
        path.write_text(text, encoding="utf-8")
        changed = {script for script in SCRIPTS if after[script] != before[script]}
        assert changed == {script for script in SCRIPTS if (module, name) in reached[script]}, (module, name)


class Reworded(ast.NodeTransformer):
    """A program with other docstrings, other types, other sentences in errors, and names that nobody uses."""

    in_class = False

    def visit_ClassDef(self, node):
        before, self.in_class = self.in_class, True
        self.generic_visit(node)
        self.in_class = before
        node.body.insert(0, ast.Expr(ast.Constant("Another docstring.")))
        return node

    def visit_FunctionDef(self, node):
        before, self.in_class = self.in_class, False
        self.generic_visit(node)
        self.in_class = before
        node.returns = self.other_type(node.returns)
        for argument in node.args.args:
            argument.annotation = self.other_type(argument.annotation)
        if says(node):
            self.visit_Raise(node)
        node.body.insert(0, ast.Expr(ast.Constant("Another docstring.")))
        node.body.insert(1, ast.AnnAssign(ast.Name("nobody_reads", ast.Store()), ast.Name("int", ast.Load()), None, 1))
        return node

    def other_type(self, node):
        """Names that types alone read are still read: a library that nobody reads is imported for what it does."""
        return ast.BinOp(node, ast.BitOr(), ast.Constant("Another")) if node else ast.Constant("Another")

    def visit_AnnAssign(self, node):
        if not self.in_class:
            node.annotation = self.other_type(node.annotation)
        return node

    def visit_Raise(self, node):
        for each in ast.walk(node):
            if isinstance(each, ast.JoinedStr):
                each.values.insert(0, ast.Constant("Reworded: "))
        return node

    def visit_Module(self, node):
        self.generic_visit(node)
        functions = [each for each in node.body if isinstance(each, ast.FunctionDef) and not each.decorator_list]
        others = [each for each in node.body if each not in functions]
        has_defaults = any(each.args.defaults or each.args.kw_defaults for each in functions)
        reads_functions = has_defaults or not all(isinstance(each, ast.Import | ast.ImportFrom) for each in others)
        if not reads_functions:
            node.body = [*others, *functions[::-1]]
        node.body += ast.parse("import json as nobody_reads\n\ndef nobody_calls():\n    return json.dumps({})").body
        return node


def test_checks_are_the_functions_that_take_sentences(project):
    taking = {
        f"{name.removeprefix('brain_diffuser.')}.{owner.name}"
        for name, _, tree in modules(project)
        for owner in tree.body
        if isinstance(owner, DEFINITIONS)
        for each in ast.walk(owner)
        if isinstance(each, ast.arg) and says(each)
    }
    assert {f"brain_diffuser.{name}" for name in taking} == sentences.CHECKS


def test_rewording_the_whole_project_changes_no_key(project, keys, tmp_path):
    before = keys(project)
    other = shutil.copytree(project, tmp_path / "other")
    for name, path, tree in modules(other):
        if name == "demo.scenes":  # it looks into its globals and counts whole
            continue
        path.write_text(ast.unparse(ast.fix_missing_locations(Reworded().visit(tree))), encoding="utf-8")
    assert keys(other) == before


# Programs that are drawn at random, and run


class Program:
    """Modules of functions that call each other in many ways; the script prints what comes of it."""

    def __init__(self, seed, n_modules=5, n_functions=4):
        self.random = random.Random(seed)
        names = [(f"m{place}", f"f{number}") for place in range(n_modules) for number in range(n_functions)]
        self.calls, self.texts = {}, {}
        for place, name in enumerate(names):
            later = names[place + 1 :]
            self.calls[name] = self.random.sample(later, min(len(later), self.random.randint(0, 2)))
        for module in dict.fromkeys(module for module, _ in names):
            self.texts[module] = self.module(module, [name for name in names if name[0] == module])
        self.first = names[: self.random.randint(1, 2)]

    def module(self, module, names):
        head, body = [], []
        for name in names:
            terms = [f"SIZE_{name[1]}"]
            for called in self.calls[name]:
                terms.append(self.call(module, called, head))
            body += [f"SIZE_{name[1]} = {self.random.randint(10, 99)}", self.definition(name[1], " + ".join(terms))]
        return "\n".join([*dict.fromkeys(head), *body]) + "\n"

    def definition(self, name, value):
        kinds = (
            f"def {name}():\n    return {value}",
            f"def {name}(extra=3):\n    return extra + {value}",
            f"class Of{name}:\n    scale = 1\n    def make(self):\n        return self.scale * ({value})\n"
            f"def {name}():\n    return Of{name}().make()",
            f"TABLE_{name} = {{'key': lambda: {value}}}\ndef {name}():\n    return TABLE_{name}['key']()",
            f"import functools\n@functools.cache\ndef {name}():\n    return {value}",
        )
        return self.random.choice(kinds)

    def call(self, module, called, head):
        other, name = called
        if other == module:
            return f"{name}()"
        kind = self.random.randrange(6)
        if kind == 0:
            head.append(f"from . import {other}")
            return f"{other}.{name}()"
        if kind == 1:
            head.append(f"from .{other} import {name} as {other}_{name}")
            return f"{other}_{name}()"
        if kind == 2:
            head.append(f"import prog.{other}")
            return f"prog.{other}.{name}()"
        if kind == 3:
            head.append(f"from . import {other}")
            return f"getattr({other}, '{name}')()"
        if kind == 4:
            head.append("import importlib")
            return f"importlib.import_module('prog.{other}').{name}()"
        head.append(f"import prog.{other} as alias_{other}")
        return f"(lambda module=alias_{other}.{name}: module())()"

    def write(self, folder):
        (folder / "prog").mkdir(parents=True)
        (folder / "prog/__init__.py").touch()
        (folder / "workflow_scripts").mkdir()
        for module, text in self.texts.items():
            (folder / f"prog/{module}.py").write_text(text)
        lines = [f"from prog import {module}\nprint({module}.{name}())" for module, name in self.first]
        (folder / "workflow_scripts/s.py").write_text("\n".join(lines) + "\n")
        return folder

    def reached(self):
        found, waiting = set(), list(self.first)
        while waiting:
            here = waiting.pop()
            if here not in found:
                found.add(here)
                waiting += self.calls[here]
        return found


def output(folder, monkeypatch):
    """What the script prints."""
    monkeypatch.setattr(sys, "path", [str(folder), *sys.path])
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    for name in [name for name in sys.modules if name.partition(".")[0] == "prog"]:
        del sys.modules[name]
    importlib.invalidate_caches()
    stream = io.StringIO()
    with contextlib.redirect_stdout(stream):
        runpy.run_path(str(folder / "workflow_scripts/s.py"), run_name="__main__")
    return stream.getvalue()


@pytest.mark.parametrize("seed", range(12))
def test_programs_that_print_something_else_have_another_key_and_no_others(seed, tmp_path, monkeypatch):
    program = Program(seed)
    folder = program.write(tmp_path / "program")
    script = folder / "workflow_scripts/s.py"
    before, printed = provenance.code_key(script, folder), output(folder, monkeypatch)
    for module, name in program.calls:
        path = folder / f"prog/{module}.py"
        text = path.read_text()
        path.write_text(text.replace(f"SIZE_{name} = ", f"SIZE_{name} = 100 + "))
        changed = provenance.code_key(script, folder) != before
        assert changed == (output(folder, monkeypatch) != printed) == ((module, name) in program.reached())
        path.write_text(text)


def test_mutations_do_change(project):
    """Of the test itself: every kind of mutation makes another program."""
    for _, _, tree in modules(project):
        for _, place, n_nodes in definitions(tree):
            other = copy.deepcopy(tree.body[place])
            mutate(meaningful(other)[n_nodes - 1])
            assert ast.dump(other) != ast.dump(tree.body[place])
