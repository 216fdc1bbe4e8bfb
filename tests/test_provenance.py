"""Keys of code and configuration: what changes them and, as important, what does not."""

from pathlib import Path

import pytest

from brain_diffuser import provenance

SCRIPT = "from brain_diffuser import stage\n\nwith open('x') as file:\n    stage.run(file)\n"
TREE = {
    "brain_diffuser/__init__.py": "__version__ = '1'\n",
    "brain_diffuser/stage.py": '"""A stage."""\nfrom .nets.model import Net\n\ndef run(file):\n    return Net(file)\n',
    "brain_diffuser/nets/__init__.py": "",
    "brain_diffuser/nets/model.py": (
        "from .. import arrays\nfrom . import parts\n\nclass Net:\n    def late(self):\n        import demo.world\n"
    ),
    "brain_diffuser/nets/parts.py": "SIZE = 1\n",
    "brain_diffuser/arrays.py": "import numpy.linalg\nfrom pathlib import Path\n\nAXES = ['stimuli']\n",
    "brain_diffuser/unrelated.py": "from brain_diffuser import stage\n",
    "demo/__init__.py": "",
    "demo/world.py": "import brain_diffuser.stage\n\nSIDE = 64\n",
    "workflow_scripts/stage.py": SCRIPT,
}


@pytest.fixture
def root(tmp_path):
    for name, text in TREE.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return tmp_path


def key(root):
    return provenance.code_key(root / "workflow_scripts/stage.py", root)


def test_imports_are_those_of_all_modules_that_are_reached(root):
    found = provenance.imports(root / "workflow_scripts/stage.py", root)
    assert {"numpy", "numpy.linalg", "pathlib", "brain_diffuser.nets.model", "demo.world"} <= found
    assert "brain_diffuser.unrelated" not in found


@pytest.mark.parametrize(
    ("name", "old", "new"),
    [
        ("workflow_scripts/stage.py", "with open", "# a comment\nwith open"),
        ("workflow_scripts/stage.py", "from brain", '"""What it does."""\n\nfrom brain'),
        ("brain_diffuser/stage.py", "A stage.", "The same stage."),
        ("brain_diffuser/stage.py", "def run(file):\n", 'def run(file):\n    """Runs."""\n\n'),
        ("brain_diffuser/stage.py", "Net(file)", "Net( file )  # spaced"),
        ("brain_diffuser/nets/parts.py", "SIZE = 1", 'SIZE = 1\n"""Pixels."""'),
        ("brain_diffuser/unrelated.py", "import stage", "import stage, arrays"),
    ],
)
def test_key_ignores_what_does_not_run(root, name, old, new):
    before = key(root)
    text = (root / name).read_text()
    (root / name).write_text(text.replace(old, new))
    assert (root / name).read_text() != text
    assert key(root) == before


@pytest.mark.parametrize(
    ("name", "old", "new"),
    [
        ("workflow_scripts/stage.py", "'x'", "'y'"),
        ("brain_diffuser/__init__.py", "'1'", "'2'"),
        ("brain_diffuser/stage.py", "Net(file)", "Net(file, 2)"),
        ("brain_diffuser/nets/__init__.py", "", "import json\n"),
        ("brain_diffuser/nets/model.py", "class Net:", "class Net(list):"),
        ("brain_diffuser/nets/parts.py", "1", "2"),
        ("brain_diffuser/arrays.py", "stimuli", "rows"),
        ("demo/world.py", "64", "65"),
    ],
)
def test_key_follows_imports(root, name, old, new):
    before = key(root)
    (root / name).write_text((root / name).read_text().replace(old, new, 1))
    assert key(root) != before


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
    root = Path(provenance.__file__).parents[1]
    scripts = sorted((root / "workflow_scripts").glob("*.py"))
    keys = {provenance.code_key(script, root) for script in scripts}
    assert len(keys) == len(scripts) > 1


def test_stage_config_sorts_keys_at_all_levels():
    config = {"ridge": {"rescale": "test", "alpha": {"vdvae": 5.0, "clip": 1.0}}, "nsd": {"rois": ["b", "a"]}, "x": 1}
    shuffled = {"x": 2, "nsd": {"rois": ["b", "a"]}, "ridge": {"alpha": {"clip": 1.0, "vdvae": 5.0}, "rescale": "test"}}
    found = provenance.stage_config(config, "ridge", "nsd.rois", "ridge.alpha.clip")
    assert repr(found) == (
        "{'nsd.rois': ['b', 'a'], 'ridge': {'alpha': {'clip': 1.0, 'vdvae': 5.0}, 'rescale': 'test'}, "
        "'ridge.alpha.clip': 1.0}"
    )
    assert repr(found) == repr(provenance.stage_config(shuffled, "ridge.alpha.clip", "ridge", "nsd.rois"))


@pytest.mark.parametrize("path", ["rigde", "ridge.beta", "ridge.alpha.deeper"])
def test_stage_config_names_a_key_that_is_not_there(path):
    with pytest.raises(ValueError, match=rf"config\.yaml has no key {path}"):
        provenance.stage_config({"ridge": {"alpha": 1.0}}, path)
