"""C++ is compiled once, kept where nobody else can write, and made whole or not at all."""

import dataclasses
import os
import subprocess
import sys
from pathlib import Path

import pytest

import gpusim
from gpusim.envs.classic.cartpole import CARTPOLE
from gpusim.kernels import cpp

pytestmark = pytest.mark.skipif(cpp.compiler() is None, reason="there is no C++ compiler")
SOURCE = 'extern "C" int run() { return %d; }\n'


@pytest.fixture
def cache(tmp_path, monkeypatch):
    folder = tmp_path / "a folder"
    monkeypatch.setenv("GPUSIM_CACHE", str(folder))
    cpp.loaded.cache_clear()
    yield folder
    cpp.loaded.cache_clear()


def files(folder):
    return sorted(path.suffix for path in folder.iterdir())


def test_it_is_compiled_once(cache, monkeypatch):
    assert cpp.loaded(SOURCE % 7, "Seven").run() == 7
    assert files(cache) == [".cpp", ".so"]
    cpp.loaded.cache_clear()
    monkeypatch.setattr(cpp, "_make", lambda *_: pytest.fail("it was compiled again"))
    assert cpp.loaded(SOURCE % 7, "Seven").run() == 7


def test_another_source_compiler_processor_or_flag_is_another_library(cache, monkeypatch, tmp_path):
    made = [cpp.loaded(SOURCE % 1, "it")]
    made.append(cpp.loaded(SOURCE % 2, "it"))
    made.append(cpp.loaded(SOURCE % 1, "it", (*cpp.FLAGS, "-DX")))
    monkeypatch.setattr(cpp, "_processor", lambda: "another")
    cpp.loaded.cache_clear()
    made.append(cpp.loaded(SOURCE % 1, "it"))
    link = tmp_path / "compiler"
    link.write_text(f'#!/bin/sh\nexec {cpp.compiler()} "$@"\n')
    link.chmod(0o755)
    monkeypatch.setenv("CXX", str(link))
    cpp.loaded.cache_clear()
    made.append(cpp.loaded(SOURCE % 1, "it"))
    assert len({library._name for library in made}) == 5


def test_what_is_broken_is_made_again(cache):
    library = Path(cpp.loaded(SOURCE % 5, "Five")._name)
    other = library.with_name("0" * 32 + ".so")
    other.write_bytes(library.read_bytes()[:100])  # this process holds the first one open
    made = cpp._loaded(SOURCE % 5, "Five", cpp.FLAGS, cpp.compiler(), "0" * 32, cache)
    assert made.run() == 5


def test_many_processes_make_the_same(cache):
    code = f"from gpusim.kernels.cpp import loaded; print(loaded({SOURCE % 9!r}, 'Nine').run())"
    command = [sys.executable, "-c", code]
    running = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(3)]
    assert [process.communicate()[0].strip() for process in running] == ["9"] * 3
    assert files(cache) == [".cpp", ".so"]


def test_what_others_may_write_is_not_run(cache, monkeypatch):
    first = Path(cpp.loaded(SOURCE % 3, "Three")._name)
    cache.chmod(0o777)
    cpp.loaded.cache_clear()
    with pytest.warns(UserWarning, match="others may write it: what is compiled is not kept"):
        assert Path(cpp.loaded(SOURCE % 3, "Three")._name).parent != first.parent
    cache.chmod(0o700)
    first.chmod(0o666)
    made = []
    monkeypatch.setattr(cpp, "_make", lambda *args: made.append(args))
    cpp.loaded.cache_clear()
    cpp.loaded(SOURCE % 3, "Three")
    assert len(made) == 1


def test_a_folder_that_cannot_be_made(monkeypatch, tmp_path):
    (tmp_path / "file").touch()
    monkeypatch.setenv("GPUSIM_CACHE", str(tmp_path / "file" / "folder"))
    cpp.loaded.cache_clear()
    with pytest.warns(UserWarning, match="cannot be written"):
        assert cpp.loaded(SOURCE % 4, "Four").run() == 4


def test_a_compiler_that_fails(cache, monkeypatch, tmp_path):
    with pytest.raises(cpp.CompileError, match=r"could not compile Wrong: .*error"):
        cpp.loaded("no C++ at all", "Wrong")
    assert files(cache) == []
    broken = tmp_path / "broken"
    broken.write_text("#!/bin/sh\nexit 1\n")
    broken.chmod(0o755)
    monkeypatch.setenv("CXX", str(broken))
    new = dataclasses.replace(CARTPOLE, id="New-v0")  # for which this process has compiled nothing
    with pytest.raises(gpusim.InputError, match=r'backend "native" cannot run: .*broken could not compile New-v0'):
        gpusim.make(new, 64, device="cpu", backend="native")
    with pytest.warns(UserWarning, match="gpusim steps eagerly: .*broken could not compile New-v0"):
        env = gpusim.make(new, 64, device="cpu")
    assert env.backend == "eager"
    env.reset(seed=0)
    assert env.rollout(3).obs.shape == (3, 64, 4)


def test_the_compiler_needs_no_other_folder(cache, monkeypatch, tmp_path):
    """/tmp may be full."""
    told = tmp_path / "told"
    fake = tmp_path / "compiler"
    fake.write_text(f'#!/bin/sh\nprintf %s "$TMPDIR" > "{told}"\nexit 1\n')
    fake.chmod(0o755)
    monkeypatch.setenv("CXX", str(fake))
    with pytest.raises(cpp.CompileError):
        cpp.loaded(SOURCE % 2, "Two")
    assert Path(told.read_text()).parent == cache


def test_a_source_has_letters_of_every_kind(cache, monkeypatch):
    """Whatever the locale says."""
    code = f"from gpusim.kernels.cpp import loaded; print(loaded({'int θ;' + SOURCE % 9!a}, 'Nine').run())"
    plain = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    run = subprocess.run([sys.executable, "-c", code], env=os.environ | plain, stdout=subprocess.PIPE, text=True)
    assert run.stdout == "9\n"


def test_compiling_is_announced_when_it_takes_long(cache, monkeypatch, capsys):
    """Sooner on a terminal than in a log."""
    for number, patience, told in ((6, (1e5, 0.0), True), (10, (0.0, 1e5), False)):
        monkeypatch.setattr(cpp, "PATIENCE", patience)
        cpp.loaded(SOURCE % number, "It")
        said = "gpusim: compiling It for this processor; it is kept for the next time.\n"
        assert capsys.readouterr().err == (said if told else "")


def test_an_interrupt_leaves_nothing(cache, monkeypatch):
    def interrupted(process, name):
        raise KeyboardInterrupt

    monkeypatch.setattr(cpp, "_waited", interrupted)
    with pytest.raises(KeyboardInterrupt):
        cpp.loaded(SOURCE % 8, "Eight")
    assert files(cache) == []


def test_the_folder_is_the_users(monkeypatch, tmp_path):
    monkeypatch.delenv("GPUSIM_CACHE", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cpp.cache_folder() == tmp_path / "gpusim"
    assert os.stat(tmp_path / "gpusim").st_mode & 0o777 == 0o700
