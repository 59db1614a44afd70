"""
Makes differential.json: token ids of awkward strings by the Python libraries, in the versions that the reference pins.

    pip install transformers==4.40.1 tokenizers==0.19.1 sentencepiece==0.1.99 protobuf "numpy<2"
    python makeDifferential.py ../libero-tiny/checkpoint differential.json

Rows: `text`, its ids by `llama` (BOS first) and `siglip` (`</s>` last), and by three variants of these tokenizers:
`metaspace` = the newer form of tokenizer.json (`tokenizer_metaspace`: its normalizer and pre_tokenizer); `user_defined`,
`byte_fallback`, `keep_spaces` = spiece.model with the bytes of `suffixes` appended, which protobuf reads as merged in: a
user-defined and an unused piece; byte fallback; no character rules and whitespace kept.
"""

import base64
import json
import random
import shutil
import sys
import tempfile
from pathlib import Path

import transformers
from tokenizers import Tokenizer
from transformers import LlamaTokenizerFast, SiglipTokenizer
from transformers.convert_slow_tokenizer import import_protobuf

transformers.logging.set_verbosity_error()
checkpoint, out = Path(sys.argv[1]), sys.argv[2]
text_folder = checkpoint / "siglip-text-tiny"

HARD = [
    "</s></s>", "<unk><unk>", "</s>", " </s> ", "a </s>", "</s> a", "<unk>a", "\u3000</s>\x85b", "\ufeff</s>\ufeff", "</S>",
    "<UNK>", "<s>", "<s></s>", "<s>pick", "pick<s>up", "<PAD>", "a<PAD>b", "<pad>", "<0x0A>", "<0x41>a", "</", "s>", "▁", "▁▁",
    " ▁ ", "▁</s>", "▁<unk>▁", "a▁b", "\x00", "a\x00b", "\x1c\x1d\x1e\x1f", "a\x1cb", "a\x85b", "\x85", "\ufeff", "a\ufeffb",
    "\u200b", "a\u200bb", "\u200c\u200d", "\u2028\u2029", "\u180e", "a\u2060b", "\xad", "Σ", "ΑΣ", "ΑΣ.", "ΑΣΑ", "ΣΑΣ ΣΑΣ", "Α\u0301Σ",
    "İ", "Iı", "ẞß", "ǅǄ", "ᾳᾼ", "K\u212a\u212bÅ", "ﬃ", "㍿", "①½", "e\u0301", "\u0301", "ｶﾞ", "가\u1100\u1161", "\U0001f468\u200d\U0001f469\u200d\U0001f467",
    "\U0010ffff", "\ue000", "\ufffd", "\uffff", "qqq\U0001f34e\U0001f34fqqq", "\U0001f34epick", "qpick", "qqpick", "pick qx up",
    "!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~", "«»‘’“”„", "a-b", "a - b", "  a  b  ", "\ta\n\nb\r\n", "the the  the   the    the",
    # Segmentations of equal score: sentencepiece up to 0.2.0 compares them in float64, 0.2.3 in float32.
    "q rsss", "q iiooo", "q ggsss", "q tnooo", "q ppsss",
    "zqzq", "zqzq bowl zqzq", "blackzqzqbowl", "vjvj", "bowl vjvj bowl", "", " ", "\n",
]
WORDS = "pick up the black bowl and place it on the plate robot action take should what In: Out: ramekin cookies".split()
SPECIAL = ["<s>", "</s>", "<unk>", "<PAD>", "</S>", "<0x0A>", "▁", " </s> ", "<", ">", "zqzq", "vjvj"]
SPACE = " \t\n\r\x0b\x0c\x1c\x1f\x85\xa0\u1680\u2000\u200b\u200d\u2028\u202f\u2060\u3000\ufeff\u180e\xad"
CASED = "ΣσςİIıſKÅẞßǅǄᾳᾼ\u0307\u0301\u0345·'’.Aa"
RANGES = [
    (0, 0x1f), (0x20, 0x7e), (0x7f, 0x24f), (0x250, 0x3ff), (0x400, 0x52f), (0x590, 0x6ff), (0x900, 0x97f), (0x1100, 0x11ff),
    (0x1e00, 0x1fff), (0x2000, 0x218f), (0x2190, 0x2bff), (0x3000, 0x33ff), (0x4e00, 0x4eff), (0xac00, 0xad00), (0xf900, 0xffff),
    (0x1d400, 0x1d7ff), (0x1f100, 0x1faff), (0x2f800, 0x2fa1f), (0xe0000, 0xe0100),
]


def piece(rnd):
    kind = rnd.random()
    if kind < 0.35:
        return rnd.choice(WORDS)
    if kind < 0.5:
        return rnd.choice(SPECIAL)
    if kind < 0.65:
        return rnd.choice(SPACE)
    if kind < 0.75:
        return "".join(rnd.choice(CASED) for _ in range(rnd.randint(1, 4)))
    return chr(rnd.randint(*rnd.choice(RANGES)))


def random_text(rnd):
    return "".join(piece(rnd) + (" " if rnd.random() < 0.3 else "") for _ in range(rnd.randint(1, 12)))


def suffix(change):
    """The bytes that merge `change` into a model."""
    model = import_protobuf().ModelProto()
    change(model)
    return model.SerializePartialToString()


def user_defined(model):
    model.pieces.add(piece="zqzq", score=0, type=4)
    model.pieces.add(piece="vjvj", score=0, type=5)


def byte_fallback(model):
    model.trainer_spec.byte_fallback = True
    for byte in range(256):
        model.pieces.add(piece=f"<0x{byte:02X}>", score=0, type=6)


def keep_spaces(model):
    model.normalizer_spec.precompiled_charsmap = b""
    model.normalizer_spec.remove_extra_whitespaces = False


def siglip_with(extra):
    folder = Path(tempfile.mkdtemp())
    for file in text_folder.iterdir():
        shutil.copy(file, folder)
    (folder / "spiece.model").write_bytes((text_folder / "spiece.model").read_bytes() + extra)
    return SiglipTokenizer.from_pretrained(folder)


llama = LlamaTokenizerFast.from_pretrained(checkpoint)
metaspace_json = {
    "normalizer": None,
    "pre_tokenizer": {"type": "Metaspace", "replacement": "▁", "prepend_scheme": "first", "split": False},
}
metaspace = Tokenizer.from_str(json.dumps(json.loads((checkpoint / "tokenizer.json").read_text()) | metaspace_json))
siglip = SiglipTokenizer.from_pretrained(text_folder)
suffixes = {change.__name__: suffix(change) for change in (user_defined, byte_fallback, keep_spaces)}
variants = {name: siglip_with(extra) for name, extra in suffixes.items()}
rnd = random.Random(20251122)
texts = HARD + [random_text(rnd) for _ in range(150)]
rows = []
for text in texts:
    row = {"text": text, "llama": llama(text).input_ids, "siglip": siglip(text).input_ids}
    row["metaspace"] = metaspace.encode(text).ids
    row.update({name: tokenizer(text).input_ids for name, tokenizer in variants.items()})
    rows.append(row)
json.dump(
    {
        "tokenizer_metaspace": metaspace_json,
        "suffixes": {name: base64.b64encode(extra).decode() for name, extra in suffixes.items()},
        "rows": rows,
    },
    open(out, "w"),
    separators=(",", ":"),
)
