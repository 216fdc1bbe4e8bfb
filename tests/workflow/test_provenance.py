"""Keys of code and configuration: what changes them and, as important, what does not."""

import ast
import json
from pathlib import Path
from types import SimpleNamespace

import pytest
import yaml

from brain_diffuser.workflow import provenance
from brain_diffuser.workflow.code_key import reading
from brain_diffuser.workflow.code_key.kept_keys import ModuleCache
from brain_diffuser.workflow.job import job, progress

pytestmark = pytest.mark.long

ROOT = Path(provenance.__file__).parents[2]
SCRIPT = "from brain_diffuser import stage\n\nwith open('x') as file:\n    stage.run(file)\n"
TREE = {
    "brain_diffuser/__init__.py": "__version__ = '1'\n",
    "brain_diffuser/stage.py": (
        '"""A stage."""\nimport logging\nfrom .nets.model import Net\nfrom .workflow.job import progress\n\n'
        "log = logging.getLogger(__name__)\n\n"
        "def run(file: str) -> Net:\n    log.info('runs %s', file)\n    for each in progress(file):\n        pass\n"
        "    if not file:\n        raise ValueError(f'no {file}, so {advice()}')\n    return Net(file)\n\n"
        "def advice():\n    return 'open one'\n\ndef unused():\n    return 5\n"
    ),
    "brain_diffuser/workflow/job.py": "SECONDS = 1\n\ndef progress(items):\n    return items\n",
    "brain_diffuser/nets/__init__.py": "",
    "brain_diffuser/nets/model.py": (
        "from .. import arrays\nfrom . import parts\n\nclass Net:\n    width = 3\n\n"
        "    def __init__(self, file, scale=1.5):\n        self.file: int = arrays.AXES[0]\n\n"
        "    @property\n    def late(self):\n        import demo.dataset\n"
        "        return demo.dataset.SIDE, parts.SIZE\n"
    ),
    "brain_diffuser/nets/parts.py": "SIZE = 1\nOTHER = 2\n",
    "brain_diffuser/arrays.py": "import numpy.linalg\nfrom pathlib import Path\n\nAXES = ['stimuli']\nUNUSED = 7\n",
    "brain_diffuser/unrelated.py": "from brain_diffuser import stage\n",
    "demo/__init__.py": "",
    "demo/dataset.py": "import brain_diffuser.stage\n\nSIDE = 64\n",
    "workflow_scripts/stage.py": SCRIPT,
}


def write(folder, tree):
    for name, text in tree.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return folder


@pytest.fixture
def root(tmp_path):
    return write(tmp_path, TREE)


def key(root, **options):
    return provenance.code_key(root / "workflow_scripts/stage.py", root, **options)


def changes(root, name, old, new):
    """Whether an edit changes the key."""
    before, text = key(root), (root / name).read_text()
    edited = text.replace(old, new, 1)
    assert edited != text
    (root / name).write_text(edited)
    return key(root) != before


def test_imports_are_those_of_all_modules_that_are_reached(root):
    found = provenance.imports(root / "workflow_scripts/stage.py", root)
    assert {"numpy", "numpy.linalg", "pathlib", "brain_diffuser.nets.model", "demo.dataset"} <= found
    assert "brain_diffuser.unrelated" not in found


@pytest.mark.parametrize(
    ("name", "old", "new"),
    [
        ("workflow_scripts/stage.py", "with open", "# a comment\nwith open"),
        ("workflow_scripts/stage.py", "from brain", '"""What it does."""\n\nfrom brain'),
        ("workflow_scripts/stage.py", "from brain", "import json\nfrom brain"),
        ("workflow_scripts/stage.py", "from brain", "def nobody(): ...\nfrom brain"),
        ("brain_diffuser/__init__.py", "'1'", "'2'"),
        ("brain_diffuser/stage.py", "A stage.", "The same stage."),
        ("brain_diffuser/stage.py", ":\n    log", ':\n    """Runs."""\n\n    log'),
        ("brain_diffuser/stage.py", "Net(file)", "Net( file )  # spaced"),
        ("brain_diffuser/stage.py", "file: str", "file: 'int'"),
        ("brain_diffuser/stage.py", "-> Net", "-> None"),
        ("brain_diffuser/stage.py", "'runs %s'", "'now runs %s'"),
        ("brain_diffuser/stage.py", "'no {file}, so {advice()}'", "'{file} is missing'"),
        ("brain_diffuser/stage.py", "'open one'", "'open another'"),
        ("brain_diffuser/stage.py", "return 5", "return 6"),
        ("brain_diffuser/stage.py", "import logging", "import json, logging, os.path"),
        (
            "brain_diffuser/stage.py",
            "import logging",
            "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import torch\nimport logging",
        ),
        ("brain_diffuser/stage.py", "def advice", "if __name__ == '__main__':\n    run('x')\n\ndef advice"),
        (
            "brain_diffuser/stage.py",
            "from .nets.model import Net\nfrom .workflow.job import progress",
            "from .workflow.job import progress\nfrom brain_diffuser.nets.model import Net as Network\nNet = Network",
        ),
        ("brain_diffuser/workflow/job.py", "SECONDS = 1", "SECONDS = 2"),
        ("brain_diffuser/workflow/job.py", "return items", "return list(items)"),
        ("brain_diffuser/nets/model.py", "self.file: int =", "self.file ="),
        ("brain_diffuser/nets/parts.py", "SIZE = 1", 'SIZE = 1\n"""Pixels."""'),
        ("brain_diffuser/nets/parts.py", "SIZE = 1", "SIZE: int = 1"),
        ("brain_diffuser/nets/parts.py", "OTHER = 2", "OTHER = 3"),
        ("brain_diffuser/nets/__init__.py", "", "import json\n"),
        ("brain_diffuser/arrays.py", "UNUSED = 7", ""),
        ("brain_diffuser/unrelated.py", "import stage", "import stage, arrays"),
    ],
)
def test_key_ignores_what_cannot_change_a_result(root, name, old, new):
    assert not changes(root, name, old, new)


@pytest.mark.parametrize(
    ("name", "old", "new"),
    [
        ("workflow_scripts/stage.py", "'x'", "'y'"),
        ("brain_diffuser/stage.py", "Net(file)", "Net(file, 2)"),
        ("brain_diffuser/stage.py", "if not file", "if file"),
        ("brain_diffuser/stage.py", "ValueError(", "OSError("),
        ("brain_diffuser/stage.py", "log.info(", "print("),
        ("brain_diffuser/stage.py", "def run", "@staticmethod\ndef run"),
        ("brain_diffuser/stage.py", "progress(file)", "advice()"),
        ("brain_diffuser/nets/model.py", "class Net:", "class Net(list):"),
        ("brain_diffuser/nets/model.py", "class Net:", "class Net(metaclass=Meta):"),
        ("brain_diffuser/nets/model.py", "width = 3", "width = 4"),
        ("brain_diffuser/nets/model.py", "scale=1.5", "scale=1.6"),
        ("brain_diffuser/nets/model.py", "    @property\n", ""),
        ("brain_diffuser/nets/parts.py", "1", "2"),
        ("brain_diffuser/nets/parts.py", "SIZE = 1", "SIZE = 1\nSIZE = 3"),
        ("brain_diffuser/nets/parts.py", "SIZE = 1", "SIZE = 1\nSIZE += 3"),
        ("brain_diffuser/nets/parts.py", "SIZE = 1", "SIZE = 1\ndel SIZE"),
        ("brain_diffuser/nets/parts.py", "SIZE = 1", "if True:\n    SIZE = 1"),
        ("brain_diffuser/nets/__init__.py", "", "import hdf5plugin\n"),
        ("brain_diffuser/nets/__init__.py", "", "print()\n"),
        ("brain_diffuser/arrays.py", "stimuli", "rows"),
        ("demo/dataset.py", "64", "65"),
        ("demo/dataset.py", "SIDE", "brain_diffuser.stage.advice = None\n\nSIDE"),
    ],
)
def test_key_follows_what_is_reached(root, name, old, new):
    assert changes(root, name, old, new)


def trap(folder, files, call, extra=""):
    tree = {"p/__init__.py": ""} | {f"p/{name}": text + "\n" for name, text in files.items()}
    return write(folder, tree | {"workflow_scripts/stage.py": f"from p.a import X\n{extra}print({call})\n"})


def cases():
    """Name, whether the edit counts, script, files, edited file, old and new text of every case in the file."""
    for text in (Path(__file__).parents[1] / "fixtures/code_key_cases.txt").read_text().split("\n==== ")[1:]:
        head, *parts = text.rstrip("\n").split("\n---- ")
        (kind, name), script = head.split("\n")[0].split(": ", 1), head.split("script: ")[1]
        *files, edit, new = (part.partition("\n")[::2] for part in parts)
        place, old = edit[0].removeprefix("edit of "), edit[1]
        yield pytest.param(kind == "counts", script, dict(files), place, old, new[1], id=name)


@pytest.mark.parametrize(("counts", "script", "files", "place", "old", "new"), [*cases()])
def test_edit_of_a_small_package(tmp_path, counts, script, files, place, old, new):
    assert changes(trap(tmp_path, files, script), f"p/{place}", old, new) is counts


@pytest.mark.parametrize(
    ("report", "counts"),
    [
        ("progress.step(rows, steps, t + 1)", False),
        ("registry.check_embedded(rows, steps, t)", False),
        ("registry.check_embedded(rows, steps, consumed(t))", True),
        ("progress.step(rows, steps, consumed(t))", True),
        ("x = progress.step(rows, steps, t)", True),
        ("progress.other(rows, steps, t)", True),
    ],
)
def test_a_report_of_a_step_counts_only_where_its_arguments_do_something(tmp_path, report, counts):
    stage = (
        "from brain_diffuser.features import registry\nfrom brain_diffuser.models import progress\n\n"
        "def consumed(t):\n    return t\n\n"
        "def run(rows, steps, t):\n    print('before')\n    return rows\n"
    )
    reports = "def step(rows, steps, t):\n    pass\n\ndef other(rows, steps, t):\n    pass\n"
    names = ("__init__", "models/__init__", "models/progress", "features/__init__", "features/registry", "stage")
    tree = {f"brain_diffuser/{name}.py": "" for name in names}
    tree |= {"brain_diffuser/models/progress.py": reports, "brain_diffuser/stage.py": stage}
    tree["brain_diffuser/features/registry.py"] = "def check_embedded(rows, steps, t):\n    pass\n"
    tree["workflow_scripts/stage.py"] = "from brain_diffuser.stage import run\n\nprint(run(1, 2, 3))\n"
    write(tmp_path, tree)
    old = "    print('before')\n"
    assert changes(tmp_path, "brain_diffuser/stage.py", old, f"{old}    {report}\n") is counts


def test_a_definition_is_known_by_its_content_wherever_it_stands(tmp_path):
    body = "def f(n):\n    return n and g(n - 1)\n\ndef g(n):\n    return f(n) + SIZE\n"
    here = trap(tmp_path / "here", {"a.py": f"SIZE = 1\n{body}X = f"}, "X(1)")
    there = trap(
        tmp_path / "there",
        {
            "a.py": "from .deep.b import f as X",
            "deep/__init__.py": "",
            "deep/b.py": f"from p import c as sizes\n{body}".replace("SIZE", "sizes.SIZE"),
            "c.py": "SIZE = 1",
        },
        "X(1)",
    )
    assert key(here) == key(there)
    assert changes(there, "p/c.py", "1", "2")


@pytest.fixture
def registry(tmp_path):
    files = {
        "a.py": (
            "from . import r\ndef X(name):\n    if name not in r.KINDS:\n"
            "        raise ValueError(f'{name}: one of {list(r.KINDS)}')\n    return r.KINDS[name].make()"
        ),
        "r.py": (
            "from typing import NamedTuple\nclass Kind(NamedTuple):\n    make: object\n    size: int = 1\n"
            "def one(): return 1\ndef two(): return 2\nKINDS = {'one': Kind(one), 'two': Kind(two, 3)}\nSIZES = KINDS"
        ),
    }
    return trap(tmp_path, files, "X('one')")


@pytest.mark.parametrize(
    ("old", "new", "counts"),
    [
        ("return 1", "return 4", True),
        ("return 2", "return 4", False),
        ("Kind(two, 3)", "Kind(two, 4)", False),
        ("Kind(two, 3)", "Kind(two, 3), 'three': Kind(one)", False),
        ("Kind(one)", "Kind(one, 2)", True),
        ("'one': Kind(one), ", "", True),
        ("{'one': Kind(one), 'two': Kind(two, 3)}", "{'two': Kind(two, 3), 'one': Kind(one)}", False),
        ("size: int = 1", "size: int = 2", True),
    ],
)
def test_of_a_dict_that_is_only_looked_up_an_entry_counts(registry, old, new, counts):
    entries = {"p.r.KINDS": "one"}
    before, path = key(registry, entries=entries), registry / "p/r.py"
    assert key(registry) != before
    path.write_text(path.read_text().replace(old, new))
    assert (key(registry, entries=entries) != before) is counts


@pytest.mark.parametrize(
    "use",
    [
        "list(r.KINDS)",
        "r.KINDS.items()",
        "{**r.KINDS}",
        "r.SIZES.get(name)",
        "getattr(r, name)",
        "r.KINDS.update(name)",
        "[r.KINDS]",
        "setattr(r, 'KINDS', name)",
    ],
)
def test_a_dict_of_which_more_is_read_counts_whole(registry, use):
    (registry / "p/a.py").write_text(f"from . import r\ndef X(name):\n    return r.KINDS[name], {use}\n")
    before = key(registry, entries={"p.r.KINDS": "one"})
    assert before == key(registry)
    path = registry / "p/r.py"
    path.write_text(path.read_text().replace("return 2", "return 4"))
    assert key(registry, entries={"p.r.KINDS": "one"}) != before


@pytest.mark.parametrize("more", ["KINDS['three'] = 1", "KINDS |= {}", "if one:\n    KINDS = {}", "KINDS = {'one': 5}"])
def test_a_dict_that_is_changed_counts_whole(registry, more):
    path = registry / "p/r.py"
    path.write_text(path.read_text() + more + "\n")
    if more.startswith("KINDS["):
        assert key(registry, entries={"p.r.KINDS": "one"}) == key(registry)
    else:
        with pytest.raises(ValueError, match=r"p\.r\.KINDS is no dict at the top of a module"):
            key(registry, entries={"p.r.KINDS": "one"})


@pytest.mark.parametrize("name", ["p.r.KIND", "p.q.KINDS", "p.r.one", "KINDS", "p.r"])
def test_entries_of_no_dict_are_named(registry, name):
    with pytest.raises(ValueError, match=f"{name} is no dict at the top of a module whose keys are texts"):
        key(registry, entries={name: "one"})


@pytest.fixture
def cache(tmp_path_factory):
    return tmp_path_factory.mktemp("start") / ".snakemake/code_keys.json"


def cached(root, cache, monkeypatch=None):
    """The key by a new start; with `monkeypatch` it fails unless the cache has it."""
    code = provenance.Code(root, cache)
    if monkeypatch:
        monkeypatch.setattr(code, "_key", None)
    return code.key(root / "workflow_scripts/stage.py")


def test_the_cache_has_the_keys_of_unchanged_code(root, cache, monkeypatch):
    assert cached(root, cache) == key(root) == cached(root, cache, monkeypatch)
    (root / "brain_diffuser/unrelated.py").write_text("")
    assert cached(root, cache, monkeypatch) == key(root)


def test_the_cache_has_the_keys_of_a_copy(root, cache, monkeypatch):
    """Of the same code elsewhere; other code there has another key."""
    before = cached(root, cache)
    moved = root.rename(root.with_name("moved"))
    assert cached(moved, cache, monkeypatch) == before
    write(moved, {"brain_diffuser/nets/parts.py": "SIZE = 2\n"})
    assert cached(moved, cache) == key(moved) != before


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("brain_diffuser/nets/parts.py", "SIZE = 2\n"),
        ("brain_diffuser/nets/parts/__init__.py", "SIZE = 2\n"),
        ("workflow_scripts/stage.py", "print(1)\n"),
        ("numpy.py", "print(1)\n"),
        ("brain_diffuser/nets/__init__.py", "print(1)\n"),
    ],
)
def test_the_cache_notices_what_a_key_is_made_of(root, cache, name, text):
    before = cached(root, cache)
    write(root, {name: text})
    assert cached(root, cache) == key(root) != before


def test_the_cache_notices_data_and_what_is_deleted(tmp_path, cache):
    files = {"a.py": "X = 't.tsv'\nfrom . import b", "b.py": "print(1)"}
    root = trap(tmp_path, files, "X")
    found = [cached(root, cache)]
    for name, text in (("t.tsv", "1"), ("t.tsv", "2")):
        (root / "p" / name).write_text(text)
        found.append(cached(root, cache))
    (root / "p/b.py").unlink()
    found.append(cached(root, cache))
    assert len(set(found)) == 4


@pytest.mark.parametrize("content", ["", "{", "[]", "null", '{"made_by": 1}', "\x00", '{"facts": {"nothing.py": "1"}}'])
def test_a_damaged_cache_is_none(root, cache, content):
    cached(root, cache)
    cache.write_text(content)
    assert cached(root, cache) == key(root)
    assert json.loads(cache.read_text())["keys"]


def test_a_cache_that_names_a_file_that_is_gone_is_none(root, cache):
    cached(root, cache)
    kept = json.loads(cache.read_text())
    kept["facts"] |= {"gone.py": "1", "gone/": "1"}
    cache.write_text(json.dumps(kept))
    assert cached(root, cache) == key(root)


def test_a_cache_that_cannot_be_written_is_done_without(root, cache):
    cache.parent.write_text("a file where the folder should be")
    assert cached(root, cache) == key(root)


def test_two_that_write_the_cache_at_once_leave_a_whole_one(root, cache):
    starts = [provenance.Code(root, cache) for _ in range(2)]
    for name in ("stage.py", "other.py"):
        (root / "workflow_scripts" / name).write_text(SCRIPT + f"\nprint({name!r})\n")
        for code in starts:
            code.key(root / "workflow_scripts" / name)
    assert len(json.loads(cache.read_text())["keys"]) == 2
    assert [path.name for path in cache.parent.iterdir()] == [cache.name]


def test_a_start_with_unchanged_code_parses_nothing(cache, monkeypatch):
    """The keys of all scripts, each worked out once."""

    def keys() -> dict[Path, str]:
        code = provenance.Code(ROOT, cache)
        return {script: code.key(script) for script in sorted((ROOT / "workflow_scripts").rglob("*.py"))}

    cold = keys()
    assert len(cold) > 40

    def parse(*_, **__):
        raise AssertionError("a file was parsed again")

    monkeypatch.setattr(ast, "parse", parse)
    assert keys() == cold


def kept(root, cache):
    """The key by a new start, which keeps what it read for the next."""
    code = provenance.Code(root, cache)
    found = code.key(root / "workflow_scripts/stage.py")
    code.save()
    return found


def test_after_an_edit_only_what_was_edited_is_parsed(root, cache, monkeypatch):
    before = kept(root, cache)
    write(root, {"brain_diffuser/nets/parts.py": "SIZE = 2\n"})
    parsed, parse = [], ast.parse
    monkeypatch.setattr(ast, "parse", lambda source: parsed.append(source) or parse(source))
    assert kept(root, cache) != before
    assert parsed == [b"SIZE = 2\n"]
    monkeypatch.undo()
    assert kept(root, cache) == key(root)


def with_modules(text, module):
    """A cache in which every module is another."""
    found = json.loads(text)
    return json.dumps(found | {"modules": {name: module for name in found["modules"]}})


@pytest.mark.parametrize(
    "damaged",
    [
        lambda text: "",
        lambda text: text[:-9],
        lambda text: "[]",
        lambda text: text.replace("[", "{", 3),
        lambda text: json.dumps(json.loads(text) | {"modules": [1]}),
        lambda text: with_modules(text, None),
        lambda text: with_modules(text, [["x"], [], []]),
        lambda text: with_modules(text, [[["", [], ["", [], []], 0, [], [], [], 0, [1], None, None, [], 0]], [], []]),
    ],
)
def test_a_damaged_cache_of_modules_is_none(root, cache, damaged):
    kept(root, cache)
    write(root, {"brain_diffuser/nets/parts.py": "SIZE = 2\n"})
    modules = cache.with_name("code_modules.json")
    modules.write_text(damaged(modules.read_text()))
    assert kept(root, cache) == key(root)
    assert len(json.loads(modules.read_text())["modules"]) > 3


def test_modules_come_back_from_a_cache_as_they_were_read(tmp_path):
    paths = [*(ROOT / "brain_diffuser/generation").glob("*.py"), *(ROOT / "brain_diffuser/workflow").glob("r*.py")]
    for _ in range(2):
        cache = ModuleCache(tmp_path / "modules.json")
        for path in paths:
            assert cache.read(path.read_bytes(), False) == reading.read(path.read_bytes()), path
        cache.save()


def test_no_job_reads_code_so_that_all_of_it_would_count():
    """One finder of modules in a function that jobs reach would make any edit run every job again."""
    for script in sorted((ROOT / "workflow_scripts").rglob("*.py")):
        code = provenance.Code(ROOT)
        code.key(script)
        assert [node for node, parts in code.parts_of.items() if ("project",) in parts] == [], script


def test_values_pass_unchanged_through_what_surrounds_a_job(tmp_path, monkeypatch):
    """What is reached of these modules may be left out of keys: they neither compute nor reach what does."""
    monkeypatch.chdir(tmp_path)
    items = [object() for _ in range(5)]
    assert [*progress(iter(items), len(items), "items")] == items
    made = tmp_path / "made.txt"
    about = {"config": {"dataset": "toy"}, "params": {"steps": 4}, "input": ["betas.h5"], "threads": 1}
    snakemake = SimpleNamespace(rule="made", log=[str(tmp_path / "made.log")], output=[str(made)], **about)
    with job(snakemake):
        made.write_text("as the script writes it")
    assert made.read_text() == "as the script writes it"
    assert [path.name for path in tmp_path.glob("made.txt*")] == ["made.txt"]


@pytest.mark.parametrize("name", provenance.SURROUNDINGS)
def test_what_surrounds_a_job_imports_no_stage_network_or_subject(name):
    code = provenance.Code(ROOT)
    module = code.module(name)
    for each in module.imports if module else ():
        imported = f"{code.absolute(name, each)}.{each.name}"
        known = (
            "brain_diffuser.artifacts.hdf5",
            "brain_diffuser.artifacts.system_faults",
            "brain_diffuser.models.progress",
            "brain_diffuser.workflow.gpus",
            "brain_diffuser.workflow.provenance",
            "brain_diffuser.workflow.usage",
        )
        assert not imported.startswith(("brain_diffuser", "demo")) or imported.startswith(
            (*known, *provenance.SURROUNDINGS)
        )


def test_key_belongs_to_the_code_not_to_its_place(root, tmp_path_factory):
    moved = tmp_path_factory.mktemp("elsewhere") / "checkout"
    before = key(root)
    root.rename(moved)
    assert key(moved) == before


def test_key_of_a_module_that_becomes_a_package(root):
    before = key(root)
    (root / "brain_diffuser/nets/parts").mkdir()
    (root / "brain_diffuser/nets/parts.py").rename(root / "brain_diffuser/nets/parts/__init__.py")
    assert key(root) == before


def test_scripts_of_this_project_have_different_keys():
    code = provenance.Code(ROOT)
    scripts = sorted((ROOT / "workflow_scripts").rglob("*.py"))
    assert len({code.key(script) for script in scripts}) == len(scripts) > 1


def test_stage_config_sorts_keys_at_all_levels():
    config = {"ridge": {"rescale": "test", "alpha": {"vdvae": 5.0, "clip": 1.0}}, "nsd": {"rois": ["b", "a"]}, "x": 1}
    shuffled = {"x": 2, "nsd": {"rois": ["b", "a"]}, "ridge": {"alpha": {"clip": 1.0, "vdvae": 5.0}, "rescale": "test"}}
    found = provenance.stage_config(config, "ridge", "nsd.rois", "ridge.alpha.clip")
    assert repr(found) == (
        "{'nsd.rois': ['b', 'a'], 'ridge': {'alpha': {'clip': 1.0, 'vdvae': 5.0}, 'rescale': 'test'}, "
        "'ridge.alpha.clip': 1.0}"
    )
    assert repr(found) == repr(provenance.stage_config(shuffled, "ridge.alpha.clip", "ridge", "nsd.rois"))


def test_later_keys_at_their_first_value_leave_no_trace():
    before = {"features": {"vdvae": {"seed": 0}, "storage": "float16"}, "decoders": {}, "recon": {"levels": "kept"}}
    features = before["features"]
    assert provenance.without_added(before) == before
    for section in ({"levels": "kept"}, {}):
        assert provenance.without_added(before | {"features": features | {"clip_vision": section}}) == before
    paper = before | {"features": features | {"clip_vision": {"levels": "paper"}}}
    assert provenance.without_added(paper) == paper
    other = {"clip_vision": {"levels": "kept", "other": 1}, "storage": "float16"}
    assert provenance.without_added(other, "features") == {"clip_vision": {"other": 1}, "storage": "float16"}


def test_later_keys_are_in_the_shipped_configuration_at_their_first_value():
    config = yaml.safe_load((ROOT / "config.yaml").read_text())
    for path, value in provenance.ADDED.items():
        assert provenance.stage_config(config, path) == {path: value}


@pytest.mark.parametrize("path", ["rigde", "ridge.beta", "ridge.alpha.deeper"])
def test_stage_config_names_a_key_that_is_not_there(path):
    with pytest.raises(ValueError, match=rf"config\.yaml has no key {path}"):
        provenance.stage_config({"ridge": {"alpha": 1.0}}, path)
