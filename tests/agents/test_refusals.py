"""Options that cannot be read are refused in one sentence."""

import pytest

from gpusim.agents.app.cli import main
from gpusim.agents.app.refusals import sentence

TRAIN = "train ppo CartPole-v1"


@pytest.mark.parametrize(
    ("words", "said"),
    [(f"{TRAIN} --learning-rat 3", "no option is called --learning-rat, 3; did you mean --learning-rate?"),
     (f"{TRAIN} -- --run-dir r", "a -- alone has no meaning here: leave it out."),
     (f"{TRAIN} --threads inf", "--threads: 'inf' is no whole number: write it as 4096, 1e6, 100k or 2M;"),
     (f"{TRAIN} --threads", "Missing value for argument '--threads'."),
     ("resume nothing --log-every 1..x", "--log-every: '1..x' is no whole number: write it as 4096, 1e6, 100k or 2M;"),
     ("plot nothing --x Steps", "invalid choice 'Steps' for argument '--x'."),
     (f"{TRAIN} 8", "no option is called 8; gpusim train ppo CartPole-v1 --help lists the options.")],
)  # fmt: skip
def test_options_are_refused_in_a_sentence(words, said, capsys):
    with pytest.raises(SystemExit) as exit_:
        main(words.split())
    out, err = capsys.readouterr()
    assert (exit_.value.code, out, err.count("\n")) == (2, "", 1)
    assert said in err


def test_a_box_with_borders_is_read_too():
    lines = [
        "Error parsing --threads: 'inf' is",
        "no whole number",
        "─" * 30,
        "Argument helptext:",
        "    --threads INT",
        "─" * 30,
    ]
    box = "\n".join(["╭─ Value error " + "─" * 17 + "╮", *(f"│ {line:<30} │" for line in lines), "╰" + "─" * 32 + "╯"])
    assert sentence(box, "gpusim train") == (
        "--threads: 'inf' is no whole number; gpusim train --help lists the options."
    )


@pytest.mark.parametrize("path", ['"', "a b", "%s"])
def test_help_of_a_run_of_whatever_name(path, capsys):
    with pytest.raises(SystemExit) as exit_:
        main(["resume", path, "--help"])
    assert exit_.value.code == 0
    assert "usage: gpusim resume" in capsys.readouterr().out
