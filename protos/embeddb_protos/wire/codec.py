"""What turns a kind of question and its answers into messages and back."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, ClassVar, Generic, TypeVar

from embeddb.questions import Progress, Question
from embeddb_protos.v1 import analysis_pb2

__all__ = ["Codec", "progress_from", "progress_message"]

Q = TypeVar("Q", bound=Question[Any])
A = TypeVar("A")


class Codec(ABC, Generic[Q, A]):
    """Both directions of one call of the analysis service.

    Attributes:
        method: the call's name.
        streamed: whether its answers may take long. The call is then Stream and that name: its request holds
            the question, and of its responses the last one the answer, those before it the progress.
    """

    method: ClassVar[str]
    streamed: ClassVar[bool] = False

    @abstractmethod
    def request_message(self, collection: str, question: Q) -> Any:
        """A question to a collection as a message; images are read here."""

    @abstractmethod
    def question_from(self, message: Any) -> Q:
        """The question that a message holds.

        Raises:
            InvalidArgumentError: a field of it is malformed.
        """

    @abstractmethod
    def response_message(self, answer: A) -> Any:
        """An answer as a message."""

    @abstractmethod
    def answer_from(self, message: Any) -> A:
        """The answer that a message holds."""


def progress_message(progress: Progress) -> analysis_pb2.Progress:
    """How far an answer has come, as a message."""
    return analysis_pb2.Progress(stage=progress.stage, done=progress.done, total=progress.total)


def progress_from(message: analysis_pb2.Progress) -> Progress:
    """How far an answer has come."""
    return Progress(message.stage, message.done, message.total)
