"""Which ranking finds the right passage: places, scores and the verdict, on made documents."""

import json

import numpy as np
import pytest

from energy_plugin.errors import InvalidInputError
from energy_plugin.library.comparison import Comparison, Duel, Score, compare
from energy_plugin.library.questions import Question, hold_out, read_questions, rows_of

TOPICS = ("rivers", "engines", "violins", "glaciers")


def collection(n=80, dim=24):
    """Texts of four topics, each with a word of its own; vectors that know topics alone."""
    rng = np.random.default_rng(0)
    centres = rng.standard_normal((4, dim))
    texts = [f"A page about {TOPICS[i % 4]} and item{i} in particular." for i in range(n)]
    vectors = centres[np.arange(n) % 4] + 0.4 * rng.standard_normal((n, dim))
    return texts, vectors.astype(np.float32)


def test_words_win_where_vectors_know_topics_alone():
    texts, vectors = collection()
    rows = list(range(0, 40, 2))
    topics = np.stack([vectors[row % 4 :: 4].mean(0) for row in rows])
    result = compare(
        texts, vectors, [f"item{row}" for row in rows], topics, [frozenset({r}) for r in rows]
    )
    assert result.scores["words"].mrr == 1
    assert (result.places["words"] == 1).all()
    assert result.scores["cosine"].mrr < 0.5
    assert result.scores["hybrid"].mrr > result.scores["energy"].mrr
    assert result.rival == "words"
    assert result.duels["energy"].losses > result.duels["energy"].wins
    assert result.verdict.startswith("Energy does not help here: words")
    data = json.loads(json.dumps(result.to_dict()))
    assert data["rankings"]["words"] == {
        "mrr": 1.0,
        "first": 1.0,
        "first_ten": 1.0,
        "median_place": 1.0,
    }
    assert data["questions"][3] == {
        "question": "item6",
        "places": {
            name: int(places[3]) if np.isfinite(places[3]) else None
            for name, places in result.places.items()
        },
    }


def made(energy, hybrid, rival, p, wins=9, losses=1, questions=20):
    scores = {"cosine": rival, "words": 0.1, "fusion": 0.1, "energy": energy, "hybrid": hybrid}
    duel = Duel(wins, questions - wins - losses, losses, p)
    return Comparison(
        100,
        ["?"] * questions,
        {},
        {name: Score(mrr, 0, 0, 1) for name, mrr in scores.items()},
        "cosine",
        {"energy": duel, "hybrid": duel},
        0.0,
    )


@pytest.mark.parametrize(
    ("comparison", "verdict"),
    [
        (made(0.6, 0.7, 0.5, 0.01), "Use hybrid: it beats cosine"),
        (made(0.7, 0.6, 0.5, 0.01), "Use energy: it beats cosine"),
        (made(0.4, 0.3, 0.5, 0.01), "Energy does not help here: cosine is better"),
        (made(0.6, 0.7, 0.5, 0.4), "No clear difference on 20 questions: hybrid is ahead"),
        (made(0.4, 0.5, 0.5, 0.9), "Energy does not help here: cosine does as well"),
        (made(0.9, 0.9, 0.1, 0.01, 1, 0, 2), "Too few questions to tell: 2"),
    ],
)
def test_the_verdict(comparison, verdict):
    assert comparison.verdict.startswith(verdict)


def test_a_question_without_a_right_row():
    texts, vectors = collection()
    with pytest.raises(InvalidInputError, match="No row answers 'lost'"):
        compare(texts, vectors, ["lost"], vectors[:1], [frozenset()])
    with pytest.raises(InvalidInputError, match="no questions"):
        compare(texts, vectors, [], vectors[:0], [])


def test_files_of_questions(tmp_path):
    table = tmp_path / "asked.tsv"
    table.write_text("question\tanswer\nwhat flows?\trivers.md\n\nwhich ones?\ta7\tb8\n", "utf-8")
    wanted = [Question("what flows?", ("rivers.md",)), Question("which ones?", ("a7", "b8"))]
    assert read_questions(table) == wanted
    commas = tmp_path / "asked.csv"
    commas.write_text('"what flows, and where?",rivers.md\n', "utf-8")
    assert read_questions(commas) == [Question("what flows, and where?", ("rivers.md",))]
    lines = tmp_path / "asked.jsonl"
    lines.write_text(
        '{"question": "what flows?", "answer": "rivers.md"}\n'
        '{"question": "which ones?", "answer": ["a7", "b8"]}\n',
        "utf-8",
    )
    assert read_questions(lines) == wanted
    (tmp_path / "none.tsv").write_text("\n", "utf-8")
    for name, message in (
        ("none.tsv", "has no questions"),
        ("missing.tsv", "cannot be read"),
    ):
        with pytest.raises(InvalidInputError, match=message):
            read_questions(tmp_path / name)
    table.write_text("no answer\n", "utf-8")
    with pytest.raises(InvalidInputError, match="line 1: expected a question"):
        read_questions(table)
    lines.write_text("{\n", "utf-8")
    with pytest.raises(InvalidInputError, match="line 1 is not JSON"):
        read_questions(lines)


def test_answers_by_id_by_file_and_by_name():
    ids, sources = ["a", "b", "c"], ["notes/x.md", None, "y.md"]
    assert rows_of(Question("?", ("b", "y.md")), ids, sources) == {1, 2}
    assert rows_of(Question("?", ("x.md",)), ids, sources) == {0}
    assert rows_of(Question("?", ("notes/x.md", "a")), ids, sources) == {0}
    assert rows_of(Question("?", ("nothing",)), ids, sources) == frozenset()


def test_sentences_are_taken_out_of_their_passage():
    long = " ".join(f"Sentence number {i} has quite a few words in it." for i in range(8))
    shared = "This very sentence stands in two of the passages here."
    texts = [f"{long} {shared}", f"Other words come first in this one. {shared} {long}", "Short."]
    found = hold_out([t.replace("number", f"n{i}") for i, t in enumerate(texts)], seed=1)
    assert {each.row for each in found} == {0, 1}
    for each in found:
        assert each.sentence not in each.rest
        assert each.sentence != shared
    assert hold_out(texts[:1], seed=3) == hold_out(texts[:1], seed=3)
    assert hold_out(["Too short to ask."]) == []


def test_on_an_index(call, made, tmp_path):
    _, _, into = made
    asked = tmp_path / "asked.tsv"
    lines = [f"Note {i} is about what?\tnote{i}.txt" for i in range(6)]
    asked.write_text("\n".join([*lines, "which way do tails point?\treadme.md"]), "utf-8")
    code, out, err = call("compare", into, "--questions", asked, "--json")
    assert code == 0, err
    found = json.loads(out)
    assert len(found["questions"]) == 7
    assert set(found["rankings"]) == {"cosine", "words", "fusion", "energy", "hybrid"}
    assert found["questions"][6]["places"]["words"] == 1
    assert found["verdict"]
    code, out, err = call("compare", into, "--questions", asked)
    assert code == 0, err
    assert "7 questions with known answers" in out
    assert found["verdict"].split(":")[0] in out
    asked.write_text("who?\tnobody.txt\n", "utf-8")
    code, _, err = call("compare", into, "--questions", asked)
    assert code == 2
    assert "No row answers 'who?'" in err
    code, _, err = call("compare", into, "--count", "5")
    assert code == 2
    assert "Give questions and answers with --questions FILE" in err


def test_on_a_folder(call, tmp_path):
    folder = tmp_path / "files"
    folder.mkdir()
    subjects = ("wings", "bread", "rivers", "violins", "comets", "glaciers")
    for i, subject in enumerate(subjects):
        body = " ".join(
            f"Sentence {k} says a word or two more about {subject} and the number {k * i}."
            for k in range(9)
        )
        (folder / f"{subject}.md").write_text(f"# {subject.title()}\n\n{body}\n", "utf-8")
    code, out, err = call("compare", folder, "--count", "6", "--json")
    assert code == 0, err
    found = json.loads(out)
    assert found["rows"] >= 6
    assert len(found["questions"]) == 6
    assert found["rankings"]["hybrid"]["first_ten"] > 0.9
