"""How a weight matrix meets vectors: decided here, once per machine, by measuring what there is.

Decoding one token is a chain of such products, and each should take no longer than reading its matrix. What
comes near that differs from machine to machine: torch's library on one, this project's kernels on another.
"""

import statistics
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from models.cache_folder import remembered
from models.errors import ModelError
from models.kernels import DTYPES, WAYS, Kernels, kernels

NAMES = ("auto", "kernel", "linear", "transposed")
# Numbers of vectors that are measured; the first four stand for those up to them, the fourth also for more.
SIZES = (1, 2, 4, 8, 16, 32)
# A kernel spares what stands between two products, so a tenth slower counts as equal.
_EQUAL = 1.1
# A layout of its own must be clearly faster, since everything else that reads the matrix sees it.
_WORTH_IT = 0.9
# Models below are not worth measuring; of those above, so much of each shape is measured.
_SMALL, _SAMPLE = 2**25, 2**26
_ROUNDS = 4
# A matrix that no processor's cache holds four of.
SIDE, _COPIES = 3072, 4


@dataclass(frozen=True)
class Choice:
    """How matrices of one shape are multiplied.

    Attributes
    ----------
    ways : sequence of int
        Of the kernel, for one vector, two, up to four, and more; indices of `kernels.WAYS`.
    most : int
        Most vectors for which the kernel is used; torch's library takes more.
    """

    ways: Sequence[int] = (2, 2, 3, 3)
    most: int = SIZES[-1]

    def way(self, vectors: int) -> int:
        """The kernel's way for so many vectors."""
        return self.ways[vectors - 1 if vectors <= 2 else 2 if vectors <= 4 else 3]


class Products:
    """The products of one model.

    Parameters
    ----------
    library : Kernels or None
        None: torch's library alone.
    transposed : bool
        Matrices [outputs, inputs] lie in memory as [inputs, outputs].
    obstacle : str or None
        Why there are no kernels, where they would have been used.
    """

    def __init__(self, library: Kernels | None = None, transposed: bool = False, obstacle: str | None = None):
        self.library, self.obstacle = library, obstacle
        self._transposed = transposed
        self._choices: dict[tuple[int, int], Choice] = defaultdict(Choice)

    @property
    def name(self) -> str:
        """What one vector is multiplied with: kernel, linear (torch's library), both, or transposed."""
        if self.library is None:
            return "transposed" if self._transposed else "linear"
        used = {"kernel" if choice.most else "linear" for choice in self._choices.values()} or {"kernel"}
        return "+".join(sorted(used))

    @property
    def beside_transformers(self) -> str:
        """`name`, where weights have to lie as transformers has them."""
        return "linear" if self._transposed else self.name

    def choice(self, matrix: Tensor) -> Choice:
        """How a matrix is multiplied."""
        return self._choices[tuple(matrix.shape)]  # type: ignore[index]

    def multiply(self, vectors: Tensor, matrix: Tensor, bias: Tensor | None = None) -> Tensor:
        """Vectors [n, inputs] times a matrix [outputs, inputs], plus a bias [outputs]: [n, outputs]."""
        if (
            self.library is not None
            and 0 < len(vectors) <= (choice := self.choice(matrix)).most
            and vectors.dtype == matrix.dtype
            and matrix.is_contiguous()
        ):
            return self.library.product(matrix, bias, vectors.contiguous(), choice.way(len(vectors)))
        return torch.mm(vectors, matrix.t()) if bias is None else torch.addmm(bias, vectors, matrix.t())

    @torch.no_grad()
    def of(self, *linears: Any) -> "Product":
        """One product that does what several `nn.Linear` of the same inputs do, one below the other.

        Their parameters become views of the merged ones: there is no second copy, and they go on working.
        """

        def merged(parameters: list[nn.Parameter]) -> Tensor:
            if len(parameters) == 1 and not self._transposed:
                return parameters[0].data
            if not self._transposed and (before := _merged_before(parameters)) is not None:
                return before
            whole = torch.cat([parameter.data for parameter in parameters])
            if self._transposed and whole.dim() == 2:
                whole = whole.t().contiguous().t()
            for parameter, view in zip(parameters, whole.split([len(p) for p in parameters]), strict=True):
                parameter.data = view
            return whole

        bias = None if linears[0].bias is None else merged([linear.bias for linear in linears])
        return Product(merged([linear.weight for linear in linears]), bias, self)

    def settle(self, matrices: Iterable[Tensor]) -> None:
        """Choose for a model's matrices, by measurements of this machine; takes seconds, once."""
        if self.library is None:
            return
        shapes: dict[tuple[int, int], list[Tensor]] = defaultdict(list)
        for matrix in matrices:
            shapes[len(matrix), matrix.shape[1]].append(matrix)
        if sum(matrix.nbytes for same in shapes.values() for matrix in same) < _SMALL:
            return
        for (outputs, inputs), same in shapes.items():
            sample = same[: max(1, _SAMPLE // same[0].nbytes)]
            what = f"{same[0].dtype} {outputs}x{inputs} {torch.get_num_threads()} threads {self.library.name}"
            stored = remembered("products.json", what, partial(self._measured, sample), _as_choice)
            self._choices[outputs, inputs] = _as_choice(stored)

    def _measured(self, matrices: list[Tensor]) -> dict[str, Any]:
        assert self.library is not None
        inputs, library = matrices[0].shape[1], self.library
        ways, most = [], 0
        for size in SIZES:
            vectors = matrices[0].new_ones(size, inputs)
            sides: list[Callable[[Tensor], Tensor]] = [
                partial(_by_kernel, library, vectors, way) for way in range(len(WAYS))
            ]
            sides.append(partial(nn.functional.linear, vectors))
            *kernel, linear = seconds([each(side, matrices) for side in sides])
            ways.append(kernel.index(min(kernel)))
            if min(kernel) > _EQUAL * linear:
                break
            most = size
        ways += ways[-1:] * 4
        return asdict(Choice(ways[:4], most))


def _merged_before(parameters: Sequence[Tensor]) -> Tensor | None:
    """What another `Products` made of the same parameters: they lie one behind the other in one memory."""
    first = parameters[0].data
    end, storage = first.data_ptr(), first.untyped_storage().data_ptr()
    for parameter in parameters:
        behind = parameter.data_ptr() == end and parameter.untyped_storage().data_ptr() == storage
        if not (behind and parameter.is_contiguous()):
            return None
        end += parameter.nbytes
    return first.as_strided((sum(map(len, parameters)), *first.shape[1:]), first.stride())


class Product:
    """A weight matrix [outputs, inputs], and a bias [outputs] or None, that states are multiplied with."""

    def __init__(self, weight: Tensor, bias: Tensor | None, products: Products):
        self.weight, self.bias, self._products = weight, bias, products
        self._width = weight.shape[1]

    def rows(self, first: int) -> "Product":
        """The outputs from a row on."""
        return Product(self.weight[first:], None if self.bias is None else self.bias[first:], self._products)

    def __call__(self, state: Tensor) -> Tensor:
        """States [..., inputs] as [n, outputs]."""
        return self._products.multiply(state.reshape(-1, self._width), self.weight, self.bias)


class ProductLinear(nn.Linear):
    """An `nn.Linear` whose few vectors go by a `Product`; of `with_products`, never constructed."""

    product: Product

    def forward(self, input: Tensor) -> Tensor:
        return self.product(input).view(*input.shape[:-1], -1)


def with_products(module: Any, products: Products) -> Any:
    """A twin of a module whose linear layers go by `products`; it shares the weights of the module, which
    stays as it is."""
    twin = module.__class__.__new__(ProductLinear if type(module) is nn.Linear else module.__class__)
    twin.__dict__ = dict(module.__dict__)
    if type(module) is nn.Linear:
        twin.product = products.of(module)
    twin._modules = {name: with_products(part, products) for name, part in module._modules.items()}
    return twin


def check_name(asked: str) -> None:
    """Refuse what is none of `NAMES`."""
    if asked not in NAMES:
        raise ModelError(f"engine.product={asked} is unknown; choose {', '.join(NAMES)}")


def products_for(
    asked: str, device: torch.device, dtype: torch.dtype, *, keep_layout: bool = False
) -> Products:
    """What multiplies matrices on a device.

    Parameters
    ----------
    asked : str
        One of `NAMES`; auto: what is fastest here.
    keep_layout : bool
        Leave matrices as transformers has them, for whoever times transformers itself.

    Raises
    ------
    ModelError
        What is asked for is not to be had.
    """
    check_name(asked)
    if device.type != "cpu" or dtype not in DTYPES:
        if asked in ("kernel", "transposed"):
            raise ModelError(
                f"engine.product={asked} is for float32 and bfloat16 on a CPU; leave engine.product=auto"
            )
        return Products()
    obstacle = None
    if asked in ("auto", "kernel"):
        library = kernels()
        if isinstance(library, Kernels):
            return Products(library)
        obstacle = str(library)
        if asked == "kernel":
            raise ModelError(f"engine.product=kernel: {obstacle}; leave engine.product=auto")
    transposed = asked == "transposed"
    if asked == "auto" and not keep_layout:
        what = f"{dtype} {torch.get_num_threads()} threads"
        ratio = remembered("layouts.json", what, partial(_layout_time, dtype), float)
        transposed = ratio <= _WORTH_IT
    if transposed and keep_layout:
        raise ModelError(
            "engine.product=transposed changes how matrices lie in memory, which would change the speed of "
            "transformers itself; leave engine.product=auto"
        )
    return Products(transposed=transposed, obstacle=obstacle)


@torch.inference_mode()
def seconds(sides: Sequence[Callable[[], Any]]) -> list[float]:
    """Median seconds of each of some functions, called in turn."""
    rounds = []
    for _ in range(_ROUNDS):
        taken = []
        for side in sides:
            began = time.perf_counter()
            side()
            taken.append(time.perf_counter() - began)
        rounds.append(taken)
    # The first round allocates and chooses kernels.
    return [statistics.median(column) for column in zip(*rounds[1:], strict=True)]


def each(product: Callable[[Tensor], Any], matrices: Sequence[Tensor]) -> Callable[[], None]:
    """What multiplies some matrices one after the other."""

    def run() -> None:
        for matrix in matrices:
            product(matrix)

    return run


def sample_matrices(dtype: torch.dtype) -> list[Tensor]:
    """Matrices that no cache holds, where there is no model yet."""
    return [torch.ones(SIDE, SIDE, dtype=dtype) for _ in range(_COPIES)]


def _layout_time(dtype: torch.dtype) -> float:
    """Time of products with transposed matrices over that with matrices as they come."""
    vector = torch.ones(1, SIDE, dtype=dtype)

    def as_they_come(matrix: Tensor) -> Tensor:
        return torch.mm(vector, matrix.t())

    # Square: the same memory is a matrix and another one's transpose.
    matrices = sample_matrices(dtype)
    before, after = seconds([each(as_they_come, matrices), each(partial(torch.mm, vector), matrices)])
    return after / before


def _by_kernel(library: Kernels, vectors: Tensor, way: int, matrix: Tensor) -> Tensor:
    return library.product(matrix, None, vectors, way)


def _as_choice(stored: Any) -> Choice:
    choice = Choice(tuple(int(way) for way in stored["ways"]), int(stored["most"]))
    if len(choice.ways) != 4 or not all(0 <= way < len(WAYS) for way in choice.ways):
        raise ValueError(f"{stored} is no choice")
    return choice
