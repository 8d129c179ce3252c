"""`gpusim report`: one HTML file that is whole by itself, says what it should, and asks nobody for anything."""

import html.parser
import json
import re
import shutil
import subprocess

import pytest

from gpusim.agents.app.report.facts import facts, settings
from gpusim.agents.app.report.inline import drawn
from gpusim.agents.app.report.page import page
from gpusim.agents.app.report.played import Asked, played
from gpusim.agents.folder.drawing import panels
from gpusim.agents.folder.strict_json import dumps
from gpusim.agents.train.run import LOG, STOPPED
from gpusim.errors import InputError
from tests.agents.test_run import gpusim, train

VOID = {"meta", "br", "img", "link", "input", "hr"}
BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
FEW = ("iteration", "steps", "seconds", "time", "return", "explained_variance")
UNPLAYED = Asked(episodes=0, film=0)


class Page(html.parser.HTMLParser):
    """What is wrong with a page, what it would ask for, and what a reader sees of it."""

    def __init__(self, text):
        super().__init__()
        self.open, self.wrong, self.asked, self.ids, self.words, self.tags = [], [], [], [], [], set()
        self.feed(text)
        self.close()
        self.wrong += self.open
        self.wrong += sorted({i for i in self.ids if self.ids.count(i) > 1})
        self.text = " ".join(" ".join(self.words).split())

    def handle_starttag(self, tag, attributes):
        self.tags.add(tag)
        if tag not in VOID:
            self.open.append(tag)
        self.take(attributes)

    def handle_startendtag(self, tag, attributes):
        self.take(attributes)

    def take(self, attributes):
        for name, value in attributes:
            if name == "id":
                self.ids.append(value)
            if name in ("src", "href", "xlink:href", "srcset", "action", "poster", "data"):
                self.asked.append(value)
            self.asked += re.findall(r"url\(([^)]*)\)", value or "")

    def handle_endtag(self, tag):
        if not self.open or self.open.pop() != tag:
            self.wrong.append(f"/{tag}")

    def handle_data(self, data):
        if self.open and self.open[-1] == "style":
            self.asked += re.findall(r"url\(([^)]*)\)|@import", data)
        else:
            self.words.append(data)


def check(text):
    found = Page(text)
    assert found.wrong == []
    assert [one[:60] for one in found.asked if not one.startswith(("#", "data:"))] == []
    assert found.tags.isdisjoint({"script", "link", "iframe", "object", "form"})
    return found


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs")
    for seed in "01":
        assert train(folder / f"seed{seed}", "--seed", seed) == 0
    return folder


def test_the_page_is_whole_and_says_what_lies_in_the_folders(runs, tmp_path):
    folder = shutil.copytree(runs, tmp_path / "runs")
    for seed, grows in (("seed0", 0.0), ("seed1", 0.1)):
        file = folder / seed / "metrics.jsonl"
        lines = [json.loads(line) for line in file.read_text().splitlines()]
        few = [{name: value for name, value in one.items() if name in FEW} for one in lines]
        told = [one | {"host_cpu": 12.5, "process_memory_gib": 1 + grows * one["iteration"]} for one in few]
        file.write_text("".join(dumps(one) + "\n" for one in told))
    (folder / "seed1" / LOG).write_text("compiling ...\ngpusim: <b>there was</b> no room.\n" * 2)
    (folder / "seed1" / STOPPED).write_text(json.dumps({"sentence": "the reward is not finite."}))
    text = page([folder], UNPLAYED)
    found = check(text)
    for words in (
        "2 runs of gpusim", "seed0", "1,280", "interquartile mean of 2 seeds", "IQM of 2 seeds, 95 % interval",
        "Memory grows: the process on the host", "<b>there was</b> no room.", "A number was none: the reward is not finite.",
        "solved at 475", "What else the learner tells", "explained_variance", "processor at work [%] 12.5 12.5 12.5",
        "AMD" if "AMD" in facts(folder / "seed0").sessions[0]["processor"] else "processor", "gymnasium", "torch", "cpu",
        "seed 0 1", "num_steps 16", "learning_rate",
    ):  # fmt: skip
        assert words in found.text, words
    assert found.text.count("no room") == 1
    assert "oracle" not in found.text
    assert "prefers-color-scheme: dark" in text
    assert text.count('class="wrong"') == 1  # of the one, nothing is warned


def test_settings_are_the_same_or_differ(runs):
    both = [facts(runs / "seed0"), facts(runs / "seed1")]
    same, differing = settings(both)
    assert differing == [("seed", ["0", "1"])]
    assert same["num_envs"] == "4"
    assert same["hidden"] == "32, 32"
    assert same["normalize_obs"] == "no"
    assert same["target_return"] == "–"


def test_a_picture_takes_the_colours_of_the_page_and_ids_of_its_own():
    def make():
        figure = panels(1)
        figure.axes[0].plot([1, 2], [3, 4], label="$x$")
        figure.axes[0].legend()
        return figure

    one, other = drawn(make, "a"), drawn(make, "b")
    assert one.startswith('<svg xmlns:xlink="http://www.w3.org/1999/xlink" role="img"')
    assert "currentColor" in one
    assert "#010203" not in one
    assert "<metadata>" not in one
    assert 'id="a-figure_1"' in one
    assert set(re.findall(r'id="([^"]*)"', one)).isdisjoint(re.findall(r'id="([^"]*)"', other))
    assert set(re.findall(r"url\(#([^)]*)\)", one)) <= set(re.findall(r'id="([^"]*)"', one))
    assert drawn(make, "a") == one


def test_what_cannot_be_reported_is_refused_before_anything_is_played(runs, tmp_path, capsys):
    out = tmp_path / "report.html"
    for args, sentence in (
        ([], "report needs a run folder"),
        ([tmp_path / "nothing", "--out", out], "there is no folder"),
        ([tmp_path, "--out", out], "is no run folder and holds none"),
        ([runs, "--out", tmp_path / "report.pdf"], "a report is an .html"),
        ([runs, "--episodes", "-1"], "episodes must be at least 0"),
        ([runs, "--film", "-1"], "film must be a number of seconds"),
        ([runs, "--device", "teapot", "--out", out], "is not a device"),
    ):
        assert gpusim("report", *args) == 2
        assert sentence in capsys.readouterr().err
    assert not out.exists()


def test_a_policy_that_cannot_be_played_is_a_sentence(runs, tmp_path):
    folder = shutil.copytree(runs / "seed0", tmp_path / "run")
    for file in (folder / "checkpoints").iterdir():
        file.unlink()
    found = played(folder, Asked(), "run0", pictured=True)
    assert found.here == found.film == found.trajectory == ""
    assert found.missing[0].startswith("it could not be played:")
    (folder / "metrics.jsonl").write_text((folder / "metrics.jsonl").read_text().replace('"return":', '"x":'))
    with pytest.raises(InputError, match="no run has a finite"):
        page([folder], UNPLAYED)


def test_a_policy_is_scored_here_and_in_the_oracle(runs):
    found = played(runs / "seed0", Asked(episodes=2, film=0), "run0", pictured=False)
    assert re.fullmatch(r"\d+\.\d\d ± \d+\.\d\d", found.here)
    assert re.fullmatch(r"\d+\.\d\d ± \d+\.\d\d", found.oracle)
    assert found.oracle_name.startswith("Gymnasium 1.")
    assert found.missing == ()


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_the_whole_report_in_a_browser(runs, tmp_path, capsys):
    out = tmp_path / "report.html"
    assert gpusim("report", runs, "--out", out, "--episodes", "3", "--film", "1") == 0
    said = capsys.readouterr().out
    assert f"written: {out}" in said
    text = out.read_text()
    found = check(text)
    assert "now over 3 of them" in found.text
    assert "the oracle is Gymnasium" in found.text
    assert text.count("data:video/mp4;base64,") == 1
    assert "pole angle from upright" in found.text
    if BROWSER is None:
        pytest.skip("no browser is installed: the page was parsed, not shown")
    command = [BROWSER, "--headless", "--no-sandbox", "--disable-gpu", "--enable-logging=stderr", "--dump-dom"]
    profile = f"--user-data-dir={tmp_path / 'profile'}"
    shown = subprocess.run([*command, profile, f"file://{out}"], capture_output=True, text=True, timeout=120)
    assert "At play" not in shown.stdout
    assert "ppo at play on CartPole-v1" in shown.stdout
    assert [line for line in shown.stderr.splitlines() if "CONSOLE" in line] == []
