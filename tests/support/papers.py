"""The features in the papers' profiles and the shapes of their arrays, as in section 3 of docs/papers/<paper>.md."""

PAPERS = ("m2fnet", "avafn", "avtca", "amuse", "cues")
# feature -> array -> shape of a row and type; the arrays that the systems take
GIVEN = {
    "m2fnet_text_meld": {"pooled": ((1024,), "float32")},
    "m2fnet_text_iemocap": {"pooled": ((1024,), "float32")},
    "m2fnet_audio_meld": {"embedding": ((300,), "float32")},
    "m2fnet_audio_iemocap": {"embedding": ((300,), "float32")},
    "m2fnet_visual": {"scene": ((300,), "float32"), "face": ((300,), "float32")},
    "avafn_wav2vec2": {"pooled": ((1024,), "float32")},
    "avafn_dan": {"pooled": ((1024,), "float32")},
    "avtca_mfcc": {"frames": ((10,), "float32")},
    "avtca_efficientface": {"frames": ((1024,), "float32")},
    "avtca_crops": {"crops": ((224, 224, 3), "uint8")},
    "amuse_mpnet": {"tokens": ((768,), "float32")},
    "amuse_passt": {"frames": ((768,), "float32")},
    "amuse_jaa": {"frames": ((524,), "float32"), "landmarks": ((49, 2), "float32")},
    "amuse_back": {"frames": ((2048,), "float32")},
    "cues_kwrt": {"tokens": ((768,), "float32"), "matrix": ((), "uint8")},
    "cues_wavlm": {"frames": ((768,), "float32")},
    "cues_mel_target": {"tokens": ((1024,), "float16")},
    "cues_mel_window": {"tokens": ((1024,), "float16")},
}  # fmt: skip
ROWS = {  # how many rows an array has, where the page says so: at least, at most
    "m2fnet_visual": {"scene": (1, 1), "face": (0, 1)},
    "avtca_mfcc": {"frames": (156, 156)},
    "avtca_efficientface": {"frames": (1, 15)},
    "avtca_crops": {"crops": (1, 15)},
    "amuse_mpnet": {"tokens": (1, 128)},
    "amuse_passt": {"frames": (2, 61)},
    "amuse_jaa": {"frames": (1, 8)},
    "amuse_back": {"frames": (8, 8)},
    "cues_wavlm": {"frames": (1, 499)},
    "cues_mel_target": {"tokens": (197, 197)},
    "cues_mel_window": {"tokens": (197, 197)},
}
