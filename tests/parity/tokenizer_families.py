"""Tokenizers with the published pipelines of the families that Fathom reads, trained here on any text.

The regular expressions and settings are those of the families' own tokenizer.json files; only the vocabulary is new.
"""

import base64
import io
import json

import sentencepiece
from sentencepiece import sentencepiece_model_pb2
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

CL100K = (r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|%s"
          r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+")
DEEPSEEK_LETTERS = ("\\s?[A-Za-zµÀ-ÖØ-öø-ƺƼ-ƿǄ-ʓʕ-ʯͰ-ͳͶͷͻ-ͽͿΆΈ-ΊΌΎ-ΡΣ-ϵϷ-ҁҊ-ԯԱ-ՖႠ-ჅᎠ-Ᏽᏸ-ᏽᲐ-ᲺᲽ-Ჿᴀ-ᴫᵫ-ᵷᵹ-ᶚḀ-ἕἘ-Ἕἠ-ὅὈ-Ὅὐ-ὗ"
                    "ὙὛὝ\\x{1F5F}-\\x{1F7D}ᾀ-ᾴᾶ-ᾼ\\x{1FBE}ῂ-ῄῆ-ῌῐ-\\x{1FD3}ῖ-\\x{1FDB}ῠ-Ῥῲ-ῴῶ-ῼℂℇℊ-ℓℕℙ-ℝℤ\\x{2126}ℨ\\x{212A}-ℭℯ-ℴℹℼ-ℿⅅ-ⅉⅎↃↄⰀ-ⱻⱾ-ⳤⳫ-ⳮⳲⳳꙀ-ꙭꚀ-ꚛꜢ-ꝯꝱ-ꞇꞋ-ꞎꭰ-ꮿﬀ-ﬆﬓ-ﬗ"
                    "Ａ-Ｚａ-ｚ𐐀-𐑏𐒰-𐓓𐓘-𐓻𐲀-𐲲𐳀-𐳲𑢠-𑣟𞤀-𞥃]+")
DEEPSEEK_V3 = (r"[!\"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^" "\r\n" r"\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+"
               r"| ?[\p{P}\p{S}]+[" "\r\n" r"]*|\s*[" "\r\n" r"]+|\s+(?!\S)|\s+").replace('\\"', '"')
O200K = (r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?|"
         r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?|"
         r"\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+")


def split(pattern):
    return pre_tokenizers.Split(Regex(pattern), "isolated")


def byte_level(steps, texts, vocab, special, normalizer=None, template=None, **settings):
    """Byte-level BPE behind `steps`."""
    tokenizer = Tokenizer(models.BPE(**settings))
    if normalizer:
        tokenizer.normalizer = normalizer
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(steps) if len(steps) > 1 else steps[0]
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.train_from_iterator(texts, trainers.BpeTrainer(
        vocab_size=vocab, initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), show_progress=False))
    tokenizer.add_special_tokens([AddedToken(name, special=True, normalized=False) for name in special])
    tokenizer.post_processor = (processors.TemplateProcessing(
        single=f"{template} $A", pair=f"{template} $A {template} $B",
        special_tokens=[(template, tokenizer.token_to_id(template))]) if template else processors.ByteLevel(trim_offsets=False))
    return tokenizer


def plain(use_regex=False):
    return pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=use_regex)


def byte_fallback(texts, vocab, normalizer, pre_tokenizer, special, added=()):
    """SentencePiece-like BPE over characters, bytes for those that are unknown."""
    tokenizer = Tokenizer(models.BPE(byte_fallback=True, fuse_unk=True, unk_token="<unk>"))
    tokenizer.normalizer = normalizers.Replace(" ", "▁")
    tokenizer.pre_tokenizer = pre_tokenizers.Split("▁", "merged_with_next")
    spaces = ["▁" * n + "word" for n in range(2, 9)] * 50
    tokenizer.train_from_iterator([*texts, *spaces], trainers.BpeTrainer(
        vocab_size=vocab, limit_alphabet=400, show_progress=False,
        special_tokens=[*special, *(f"<0x{byte:02X}>" for byte in range(256))]))
    made = json.loads(tokenizer.to_str())
    made["added_tokens"] = [token for token in made["added_tokens"] if token["content"] in special]
    tokenizer = Tokenizer.from_str(json.dumps(made))
    tokenizer.add_tokens([AddedToken(content, normalized=False) for content in added])
    tokenizer.normalizer, tokenizer.pre_tokenizer = normalizer, pre_tokenizer
    if normalizer is None or pre_tokenizer is None:
        made = json.loads(tokenizer.to_str())
        made["normalizer" if normalizer is None else "pre_tokenizer"] = None
        tokenizer = Tokenizer.from_str(json.dumps(made))
    tokenizer.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(),
                                           decoders.Strip(" ", 1, 0)])
    return tokenizer


def sentencepiece_model(texts, vocab, **settings):
    """The bytes of a model that SentencePiece trains."""
    out = io.BytesIO()
    lines = (line for text in texts for line in text.split("\n") if line)
    sentencepiece.SentencePieceTrainer.train(sentence_iterator=lines, model_writer=out, vocab_size=vocab, minloglevel=2,
                                             num_threads=2, character_coverage=0.99, **settings)
    return out.getvalue()


def unigram(texts, vocab, with_bytes):
    """T5-like: the vocabulary and the normalization rules of a SentencePiece model, as `transformers` converts it."""
    proto = sentencepiece_model_pb2.ModelProto()
    proto.ParseFromString(sentencepiece_model(texts, vocab, model_type="unigram", byte_fallback=with_bytes, unk_id=2,
                                              bos_id=-1, pad_id=0, eos_id=1, hard_vocab_limit=False))
    tokenizer = Tokenizer(models.Unigram([(piece.piece, piece.score) for piece in proto.pieces], 2, with_bytes))
    rules = base64.b64encode(proto.normalizer_spec.precompiled_charsmap).decode()
    state = json.loads(tokenizer.to_str())
    state["normalizer"] = {"type": "Sequence", "normalizers": [
        {"type": "Precompiled", "precompiled_charsmap": rules}, {"type": "Strip", "strip_left": False, "strip_right": True},
        {"type": "Replace", "pattern": {"Regex": " {2,}"}, "content": " "}]}
    tokenizer = Tokenizer.from_str(json.dumps(state))
    tokenizer.pre_tokenizer = (pre_tokenizers.Metaspace() if with_bytes else
                               pre_tokenizers.Sequence([pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Metaspace()]))
    tokenizer.decoder = decoders.Metaspace()
    tokenizer.add_special_tokens(["<pad>", "</s>", "<unk>"])
    tokenizer.post_processor = processors.TemplateProcessing(
        single="$A </s>", pair="$A </s> $B </s>", special_tokens=[("</s>", 1)])
    return tokenizer


def odd(texts, vocab):
    """The parts that no family above uses. (Not StripAccents: the library's table of marks is that of an old Unicode.)"""
    tokenizer = byte_level([pre_tokenizers.Punctuation("contiguous"), pre_tokenizers.Split("e", "merged_with_previous"),
                            pre_tokenizers.Split(Regex(r"\w+|[^\w\s]+"), "removed", invert=True),
                            pre_tokenizers.Digits(False), pre_tokenizers.ByteLevel(add_prefix_space=True)],
                           texts, vocab, ["<|endoftext|>"],
                           normalizers.Sequence([normalizers.NFKD(), normalizers.Lowercase(),
                                                 normalizers.Strip(), normalizers.Replace(Regex("o+"), "0")]))
    tokenizer.add_tokens([AddedToken("Word", single_word=True), AddedToken("[left]", lstrip=True, normalized=False),
                          AddedToken("[RIGHT]", rstrip=True)])
    return tokenizer


def whitespace(texts, vocab):
    """Characters with <unk>, cut at white space and punctuation; NFD."""
    tokenizer = Tokenizer(models.BPE(unk_token="<unk>"))
    tokenizer.normalizer = normalizers.Sequence([normalizers.Nmt(), normalizers.NFD()])
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.train_from_iterator(texts, trainers.BpeTrainer(vocab_size=vocab, limit_alphabet=150, show_progress=False,
                                                             special_tokens=["<unk>", "</s>"]))
    return tokenizer


def families(texts, vocab):
    """(name, makes the tokenizer, its end-of-text token) of each."""
    prepend = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    llama = ["<unk>", "<s>", "</s>"]
    return [
        ("gpt-2", lambda: byte_level([plain(True)], texts, vocab, ["<|endoftext|>"]), "<|endoftext|>"),
        ("smollm2", lambda: byte_level([pre_tokenizers.Digits(True), plain(True)], texts, vocab,
                                       ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]), "<|endoftext|>"),
        ("llama-3", lambda: byte_level([split(CL100K % r"\p{N}{1,3}"), plain()], texts, vocab,
                                       ["<|begin_of_text|>", "<|end_of_text|>", "<|eot_id|>"], template="<|begin_of_text|>",
                                       ignore_merges=True), "<|end_of_text|>"),
        ("qwen2", lambda: byte_level([split(CL100K % r"\p{N}"), plain()], texts, vocab,
                                     ["<|endoftext|>", "<|im_start|>", "<|im_end|>"], normalizers.NFC()), "<|endoftext|>"),
        ("deepseek-llm", lambda: byte_level(
            [split("[\r\n]"), split(DEEPSEEK_LETTERS), split("\\s?[!-/:-~！-／：-～‘-‟　-。]+"), split("\\s+$"),
             split("[一-龥ࠀ-一가-퟿]+"), pre_tokenizers.Digits(True), plain()], texts, vocab,
            ["<｜begin▁of▁sentence｜>", "<｜end▁of▁sentence｜>"]), "<｜end▁of▁sentence｜>"),
        ("deepseek-coder", lambda: byte_level(
            [split("[\r\n]"), split("\\s?\\p{L}+"), split("\\s?\\p{P}+"), split("[一-龥ࠀ-一가-퟿]+"),
             pre_tokenizers.Digits(True), plain()], texts, vocab,
            ["<｜begin▁of▁sentence｜>", "<｜end▁of▁sentence｜>"]), "<｜end▁of▁sentence｜>"),
        ("deepseek-v3", lambda: byte_level(
            [split(r"\p{N}{1,3}"), split("[一-龥぀-ゟ゠-ヿ]+"), split(DEEPSEEK_V3), plain()], texts, vocab,
            ["<｜begin▁of▁sentence｜>", "<｜end▁of▁sentence｜>"], template="<｜begin▁of▁sentence｜>"), "<｜end▁of▁sentence｜>"),
        ("gpt-4o", lambda: byte_level([split(O200K), plain()], texts, vocab, ["<|endoftext|>"]), "<|endoftext|>"),
        ("llama-2", lambda: byte_fallback(texts, vocab, prepend, None, llama), "</s>"),
        ("mistral", lambda: byte_fallback(texts, vocab, None, pre_tokenizers.Metaspace(prepend_scheme="first", split=False),
                                          llama), "</s>"),
        ("gemma", lambda: byte_fallback(texts, vocab, normalizers.Replace(" ", "▁"),
                                        pre_tokenizers.Split(" ", "merged_with_previous"), ["<pad>", "<eos>", "<bos>", "<unk>"],
                                        ["\n\n", "\n\n\n", "▁▁", "▁▁▁▁", "<table>", "</div>"]), "<eos>"),
        ("t5", lambda: unigram(texts, vocab, False), "</s>"),
        ("unigram-bytes", lambda: unigram(texts, vocab, True), "</s>"),
        ("odd", lambda: odd(texts, vocab), "<|endoftext|>"),
        ("whitespace", lambda: whitespace(texts, vocab), "</s>"),
    ]
