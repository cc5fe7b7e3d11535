"""What each data set is made of: files, shapes, checksums, classes and public homes. Facts only, no reading."""

from dataclasses import dataclass

DIGITS = tuple("0123456789")
GARMENTS = (
    "T-shirt/top",
    "Trouser",
    "Pullover",
    "Dress",
    "Coat",
    "Sandal",
    "Shirt",
    "Sneaker",
    "Bag",
    "Ankle boot",
)
CIFAR10_CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")


@dataclass(frozen=True)
class File:
    """One file: its name, its checksum as ``"algorithm:hex"`` and, where known, that of its decompressed content."""

    name: str
    checksum: str
    content_checksum: str | None = None


@dataclass(frozen=True)
class IdxSource:
    """Four IDX files. `files`: training images, training labels, test images, test labels; `url` is their folder."""

    name: str
    files: tuple[File, File, File, File]
    n_train: int
    n_test: int
    image_shape: tuple[int, ...]
    class_names: tuple[str, ...]
    url: str | None
    licence: str


@dataclass(frozen=True)
class CifarSource:
    """A tar of batches, each of `records` records: one label byte, then the pixels, channel first."""

    name: str
    archive: File
    folder: str
    members: tuple[File, ...]
    test_member: File
    records: int
    image_shape: tuple[int, ...]
    class_names: tuple[str, ...]
    url: str | None
    licence: str
    #: Files that the archive may hold besides the batches; they are not read.
    extras: tuple[str, ...] = ("batches.meta.txt", "readme.html")


#: Kept in the package; origin and licence in data/README.md.
MNIST_5K = IdxSource(
    name="mnist-5k",
    files=(
        File(
            "mnist-5k-train-images-idx3-ubyte.gz",
            "sha256:230b1543b69a73968a9f308bf1051ffc9fa61fd9a68402d2fcaa4d823ec95aa4",
            "sha256:fa01c4e0e0ddb1b901673e9b19c34e207002f34b874e266b33006ed7b18f8f84",
        ),
        File(
            "mnist-5k-train-labels-idx1-ubyte.gz",
            "sha256:f00a1d76fbde0e1e8cd9645b2057f755ee5a82ffaf61b49ba7432df3d5616e9f",
            "sha256:5dbd7686910cb66a8a6303f16940c2fae43896243c187897cd3976aab00f4817",
        ),
        File(
            "mnist-5k-test-images-idx3-ubyte.gz",
            "sha256:e82bff6c45c3a5f97af62c09fedd71bdf0ba17643af781ac418e981979c3efec",
            "sha256:12a9e7e24f894be6e2e757ca9a44da720457ef446785e1828756cf0c8c83a6a0",
        ),
        File(
            "mnist-5k-test-labels-idx1-ubyte.gz",
            "sha256:4be2bdca844401fb73e73e8be1b32300cb4554c0dbd42f4943c88fea46497d5a",
            "sha256:66e4c6deb5f2a061f7d8cd5ec53025fdb9dabb08265e449acb8cf64b8cd36cac",
        ),
    ),
    n_train=4_000,
    n_test=1_000,
    image_shape=(28, 28),
    class_names=DIGITS,
    url=None,
    licence="CC BY-SA 3.0 (Y. LeCun, C. Cortes)",
)

MNIST = IdxSource(
    name="mnist",
    files=(
        File(
            "train-images-idx3-ubyte.gz",
            "md5:f68b3c2dcbeaaa9fbdd348bbdeb94873",
            "md5:6bbc9ace898e44ae57da46a324031adb",
        ),
        File(
            "train-labels-idx1-ubyte.gz",
            "md5:d53e105ee54ea40749a09fcbcd1e9432",
            "md5:a25bea736e30d166cdddb491f175f624",
        ),
        File(
            "t10k-images-idx3-ubyte.gz",
            "md5:9fb629c4189551a2d022fa330f9573f3",
            "md5:2646ac647ad5339dbf082846283269ea",
        ),
        File(
            "t10k-labels-idx1-ubyte.gz",
            "md5:ec29112dd5afa0611ce80d1b7f02629c",
            "md5:27ae3e4e09519cfbb04c329615203637",
        ),
    ),
    n_train=60_000,
    n_test=10_000,
    image_shape=(28, 28),
    class_names=DIGITS,
    url="https://ossci-datasets.s3.amazonaws.com/mnist/",
    licence="CC BY-SA 3.0 (Y. LeCun, C. Cortes)",
)

FASHION_MNIST = IdxSource(
    name="fashion-mnist",
    files=(
        File("train-images-idx3-ubyte.gz", "md5:8d4fb7e6c68d591d4c3dfef9ec88bf0d"),
        File("train-labels-idx1-ubyte.gz", "md5:25c81989df183df01b3e8a0aad5dffbe"),
        File("t10k-images-idx3-ubyte.gz", "md5:bef4ecab320f06d8554ea6380940ec79"),
        File("t10k-labels-idx1-ubyte.gz", "md5:bb300cfdad3c16e7a12a480ee83cd310"),
    ),
    n_train=60_000,
    n_test=10_000,
    image_shape=(28, 28),
    class_names=GARMENTS,
    url="http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",
    licence="MIT (Zalando SE)",
)

CIFAR10 = CifarSource(
    name="cifar-10",
    archive=File("cifar-10-binary.tar.gz", "md5:c32a1d4ab5d03f1284b67883e8d87530"),
    folder="cifar-10-batches-bin",
    members=(
        File("data_batch_1.bin", "sha1:aadd24acce27caa71bf4b10992e9e7b2d74c2540"),
        File("data_batch_2.bin", "sha1:c0ba65cce70568cd57b4e03e9ac8d2a5367c1795"),
        File("data_batch_3.bin", "sha1:1dd00a74ab1d17a6e7d73e185b69dbf31242f295"),
        File("data_batch_4.bin", "sha1:aab85764eb3584312d3c7f65fd2fd016e36a258e"),
        File("data_batch_5.bin", "sha1:26e2849e66a845b7f1e4614ae70f4889ae604628"),
    ),
    test_member=File("test_batch.bin", "sha1:67eb016db431130d61cd03c7ad570b013799c88c"),
    records=10_000,
    image_shape=(3, 32, 32),
    class_names=CIFAR10_CLASSES,
    url="https://www.cs.toronto.edu/~kriz/",
    licence="none stated; cite A. Krizhevsky, Learning Multiple Layers of Features from Tiny Images, 2009",
)

SOURCES: dict[str, IdxSource | CifarSource] = {s.name: s for s in (MNIST_5K, MNIST, FASHION_MNIST, CIFAR10)}
