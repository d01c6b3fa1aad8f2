"""The archives of TUT Urban Acoustic Scenes 2018, as they lie on Zenodo.

Records, sizes and MD5 sums are those that dcase_util, by the data set's authors, downloads by:
github.com/DCASE-REPO/dcase_util, `dcase_util/datasets/tut.py`.
"""

import dataclasses

SERVER = "https://zenodo.org"

LICENCE = (
    "TUT Urban Acoustic Scenes 2018 is for experimental and non-commercial use only, and its "
    "source must be acknowledged; terms: https://zenodo.org/records/1228142, README.md in the set"
)

# 10 s of 24-bit stereo at 48 kHz are 2,880,044 bytes. By the number of clips (8,640, 1,200 and
# 3,600) the three sets are 1.162 to 1.165 times as large as their archives.
UNPACKED = 1.17


@dataclasses.dataclass(frozen=True)
class Archive:
    """A file of a record.

    Attributes:
      name: of the file.
      size: in bytes.
      md5: its MD5 sum, in hexadecimal digits.
    """

    name: str
    size: int
    md5: str


@dataclasses.dataclass(frozen=True)
class Record:
    """A published set.

    Attributes:
      number: of the record.
      archives: which together unpack to the set, the smallest first.
    """

    number: int
    archives: tuple[Archive, ...]


def _record(number: int, name: str, *parts: tuple[str, int, str]) -> Record:
    archives = [Archive(f"{name}.{part}.zip", size, md5) for part, size, md5 in parts]
    return Record(number, tuple(archives))


RECORDS = {
    "development": _record(
        1228142,
        "TUT-urban-acoustic-scenes-2018-development",
        ("doc", 10_517, "28a4a9c46a6f46709ecc8eece365a3a4"),
        ("meta", 69_272, "e196065ee83c07af03a11a310364377d"),
        ("audio.1", 1_657_811_579, "62f97087c447e29def8716204469bf89"),
        ("audio.2", 1_783_489_370, "8e569a92025d82bff6b02b956d7c6dc9"),
        ("audio.3", 1_809_675_304, "00d2020582a4535af5e65322fb2bad56"),
        ("audio.4", 1_756_582_525, "d691eb4271f83ba6ba9a28797accc497"),
        ("audio.5", 1_724_002_546, "c4d64b5483b60f85e9fe080b3435a6be"),
        ("audio.6", 1_645_753_049, "2f0feee78f216697eb19497714d97642"),
        ("audio.7", 1_671_903_917, "07cfefe80a0731de6819181841239f3a"),
        ("audio.8", 1_673_304_843, "213f3c012859c2e9dcb74aacc8558458"),
        ("audio.9", 1_674_839_259, "b724442b09abcb3bd095ebff497cef85"),
        ("audio.10", 1_662_932_947, "a27a32fa52e283ed8013375b8a16f269"),
        ("audio.11", 1_751_473_843, "7073a121e825ffef99832507f30d6644"),
        ("audio.12", 1_742_332_198, "6567aa61db12776568b6267ce122fb18"),
        ("audio.13", 798_990_513, "d00eeb2db0e093d8975521323a96c519"),
    ),
    "leaderboard": _record(
        1245181,
        "TUT-urban-acoustic-scenes-2018-leaderboard",
        ("doc", 7_592, "ec83e81f5c25c6f3fbaaab2930d74d5d"),
        ("meta", 2_936, "2b52300b9de2e69cce8849b5d1daba28"),
        ("audio.1", 1_717_617_702, "33523d95683f80e488f318500c793431"),
        ("audio.2", 1_256_040_072, "dee89b1b99fb3f2600250008ef840b18"),
    ),
    "evaluation": _record(
        1293883,
        "TUT-urban-acoustic-scenes-2018-evaluation",
        ("doc", 7_702, "05edd37e0da5f301e86b1dbd2ccae191"),
        ("meta", 8_840, "b519d0b2addcb5e8569ec0c44df14e3e"),
        ("audio.1", 1_718_662_668, "4fd51d1365df3d13735b86a51ff8840b"),
        ("audio.2", 1_715_801_158, "f6916f68a16b25f128badff441f80d8a"),
        ("audio.3", 1_718_666_070, "05a6f5d1259a4da49cda32f534c71cc6"),
        ("audio.4", 1_716_820_790, "fcdceb6a022d698064e5537edbbd6664"),
        ("audio.5", 1_716_577_566, "ff94b9abc4f01bf2dd9a2aca79d8590d"),
        ("audio.6", 320_850_287, "3dd86135fb4df726f6036ffafe0dff88"),
    ),
}
