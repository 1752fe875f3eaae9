"""The functions of the public API that put several rooms together.

The other names of `kaggle_unet.__all__` are functions and classes of the rooms themselves.
"""

from pathlib import Path

from kaggle_unet.competitions.registry import get_competition
from kaggle_unet.errors import DataError
from kaggle_unet.steps.check import check as _check
from kaggle_unet.steps.check import competition_settings
from kaggle_unet.types import Sample


def read_folder(path: str | Path, *, images: str = "images", masks: str = "masks") -> list[Sample]:
    """Read one's own images, with their masks where there are any.

    Parameters
    ----------
    path : str or Path
        A folder, a zip, or a place in a zip (``ZIP:place``), as ``kaggle-unet make-targets --data`` takes it.
    images : str, default: "images"
        Its subfolder of images (PNG, TIFF, JPEG or BMP); ``"."`` is the folder itself.
    masks : str, default: "masks"
        Its subfolder of label images, or of binary masks whose connected components become the instances. Image and
        mask have the same name, but for the suffix.

    Returns
    -------
    list of Sample
        Sorted by id, the file's name without its suffix.

    Raises
    ------
    DataError
        If files are missing, damaged or contradict each other; all of them are named.

    Examples
    --------
    >>> import tempfile
    >>> import kaggle_unet as ku
    >>> from kaggle_unet.synthetic.files import write_folder
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     truth = write_folder(Path(folder), seed=0, n=2, shape=(64, 80))
    ...     samples = ku.read_folder(folder)
    >>> [(sample.id, sample.image.shape) for sample in samples]
    [('nuclei_000', (64, 80)), ('nuclei_001', (64, 80))]
    >>> (samples[0].labels == truth["nuclei_000"]).all()
    np.True_
    """
    return read_competition("folder", path, images=images, masks=masks)


def read_competition(name: str, data: str | Path, **places: str) -> list[Sample]:
    """Read the files that Kaggle serves, or one's own.

    Parameters
    ----------
    name : {"dsb2018", "tgs", "folder"}
        Whose files they are.
    data : str or Path
        A zip, a folder, or a place in a zip (``ZIP:place``), as ``kaggle-unet make-targets --data`` takes it.
    **places : str
        Of ``"folder"`` only: the subfolders `images` and `masks`, as for `read_folder`.

    Returns
    -------
    list of Sample
        Sorted by id; labels are None where the data has no masks.

    Raises
    ------
    DataError
        If files are missing, damaged or contradict each other; all of them are named.
    ConfigError
        If there is no such competition.

    Examples
    --------
    >>> import tempfile
    >>> import kaggle_unet as ku
    >>> from kaggle_unet.synthetic.files import write_tgs_zip
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     truth = write_tgs_zip(Path(folder) / "train.zip", seed=0, n=3)
    ...     samples = ku.read_competition("tgs", Path(folder) / "train.zip")
    >>> len(samples), samples[0].image.shape, sorted(samples[0].numbers)
    (3, (101, 101), ['depth'])
    """
    settings = competition_settings(name, **places)
    source = get_competition(name).read(str(data), settings)
    samples, problems = [], []
    for id_ in source.ids:
        try:
            samples.append(source.load(id_))
        except DataError as error:
            problems.append(str(error))
    if problems:
        raise DataError(f"{data}: {len(problems)} of {len(source.ids)} samples are faulty; fix them", problems)
    return samples


def check_submission(
    path: str | Path, data: str | Path, competition: str = "dsb2018", *, images: str = "images"
) -> list[str]:
    """Check a CSV against every rule of its competition.

    Parameters
    ----------
    path : str or Path
        The CSV.
    data : str or Path
        The images it is for, as ``kaggle-unet check --data`` takes them.
    competition : {"dsb2018", "tgs", "folder"}
        Whose rules count.
    images : str, default: "images"
        Of ``"folder"`` only: the subfolder of the images.

    Returns
    -------
    list of str
        Warnings: what Kaggle takes, and a person should look at.

    Raises
    ------
    DataError
        If Kaggle would refuse the file; all broken rules are listed, with their lines.

    Examples
    --------
    >>> import tempfile
    >>> import kaggle_unet as ku
    >>> from kaggle_unet.synthetic.files import write_dsb_zip
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     truth = write_dsb_zip(Path(folder) / "test.zip", seed=0, n=2, with_masks=False)
    ...     ku.write_submission(Path(folder) / "x.csv", truth)
    ...     ku.check_submission(Path(folder) / "x.csv", Path(folder) / "test.zip")
    []
    """
    return _check(Path(path), str(data), competition, images=images)
