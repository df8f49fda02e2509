"""Base class of the trained networks."""

from abc import ABC, abstractmethod
from typing import ClassVar

from torch import Tensor, nn

from .inputs import Inputs


class ProbeNetwork(nn.Module, ABC):
    """Network from the features of rows to one number per head.

    Attributes:
        needs: features that it reads, names as in ``features.NEEDS``.
    """

    needs: ClassVar[frozenset[str]]

    @property
    @abstractmethod
    def last_layer(self) -> nn.Linear | nn.Conv2d:
        """Layer that gives the scores, whose weights decide their unit."""

    @abstractmethod
    def fit_norms(self, inputs: Inputs) -> None:
        """Set the norms of the inputs from training inputs."""

    @abstractmethod
    def forward(self, inputs: Inputs) -> Tensor:
        """Score rows, ``[rows, heads]`` float32."""
