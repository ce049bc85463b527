#!/usr/bin/env python3
"""Makes the golden messages of this folder. It knows proto/question.md, proto/lambda.proto and the writers of the
parcel vectors next door, and neither the SDK nor a protobuf library.

NAME.bin is the message. NAME.txt says what a reader finds in it:
  message question|answer
  verdict good|malformed|refused    refused: of a kind or version that its reader does not know
and for good ones every field that is not the default, in the order of the messages; texts stand in quotes, doubles as
their bits.
"""
import os
import struct
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "parcel"))
from make_vectors import BOOT, CPU, TEMPERATURE, Block, data, declaration, fixed, number, root_of, signed, text, varint  # noqa: E402

ID = 0xABCDEF
FROM, TO = 1700000000000, 1700000060000
WHAT = {"range": 1, "last": 2, "summary": 3}


def double(tag, value):
    bits = struct.unpack("<Q", struct.pack("<d", value))[0]
    return fixed(tag, bits)


def bits(value):
    return struct.pack(">d", value).hex()


def question(what, name="", equal=(), wait=5000, start=FROM, end=TO, version=1, id_=ID, extra=b""):
    body = (number(1, version) + fixed(2, id_) + number(3, what) + signed(4, start) + signed(5, end) + number(6, wait) +
            text(7, name) + b"".join(data(8, text(1, n) + text(2, v)) for n, v in equal) + extra)
    lines = ["question", f"id {id_:016x}", f"what {what}", f"from_ms {start}", f"to_ms {end}", f"wait_ms {wait}",
             f'name "{name}"', *(f'equal "{n}" "{v}"' for n, v in equal)]
    return data(3, body), lines


def answer(piece=1, last=1, error=0, timeless=0, boot=0, declarations=(), clocks=(), blocks=(), summaries=(), unsummed=(),
           version=1, extra=b"", packed=True):
    body = number(1, version) + fixed(2, ID) + number(3, piece) + number(4, last) + number(5, error) + number(6, timeless)
    body += fixed(7, boot) + b"".join(data(8, declaration(d)) for d in declarations)
    body += b"".join(data(9, number(1, s) + number(2, r) + signed(3, o) + number(4, k)) for s, r, o, k in clocks)
    body += b"".join(data(10, b.bytes) for b in blocks)
    lines = ["answer", f"id {ID:016x}", f"piece {piece}", f"last {last}", f"error {error}", f"timeless {timeless}",
             f"boot {boot:016x}"]
    for ref, name, labels, kind, type_, scale, unit in declarations:
        lines.append(f'declaration {ref} "{name}" kind {kind} type {type_} scale {scale} unit "{unit}"')
        lines += [f'label "{n}" "{v}"' for n, v in labels]
    lines += [f"clock {s} relative {r} offset_ms {o} known {k}" for s, r, o, k in clocks]
    lines += [f"block {b.ref} first {b.first} count {len(b.points)}" for b in blocks]
    for ref, count, first_ms, last_ms, *doubles in summaries:
        body += data(11, number(1, ref) + number(2, count) + signed(3, first_ms) + signed(4, last_ms) +
                     b"".join(double(5 + i, value) for i, value in enumerate(doubles)))
        lines.append(f"summary {ref} count {count} from {first_ms} to {last_ms} " + " ".join(bits(d) for d in doubles))
    if unsummed and packed:
        body += data(12, b"".join(varint(ref) for ref in unsummed))
    elif unsummed:
        body += b"".join(number(12, ref) for ref in unsummed)
    lines += [f"unsummed {ref}" for ref in unsummed]
    return data(3, body + extra), lines


def write(name, what, kind, verdict, message, lines=()):
    with open(os.path.join(HERE, name + ".bin"), "wb") as file:
        file.write(message)
    with open(os.path.join(HERE, name + ".txt"), "w") as file:
        file.write(f"# {what}\nmessage {kind}\nverdict {verdict}\n" + "".join(line + "\n" for line in lines))


def main():
    for old in os.listdir(HERE):
        if old.endswith((".bin", ".txt")):
            os.remove(os.path.join(HERE, old))
    news = number(500, 1) + fixed(501, 2) + data(502, b"news")  # fields of a newer writer
    example, steady = Block("example"), Block("steady")

    write("example", "the worked example of question.md", "question", "good", *question(WHAT["summary"], "temperature"))
    write("question_range", "a range of a series by name and labels", "question", "good",
          *question(WHAT["range"], "node_cpu_seconds_total", [("cpu", "0"), ("core", "")], start=-5, end=1 << 50))
    write("question_last", "the newest point of every series, without patience", "question", "good",
          *question(WHAT["last"], wait=0))
    write("question_newer_fields", "fields of a newer writer are skipped", "question", "good",
          *question(WHAT["range"], "up", extra=news))
    whole = question(WHAT["range"], "up", [("a", "b")])[0]
    write("bad_question_version", "a higher major version", "question", "refused", question(1, "up", version=2)[0])
    write("bad_question_kind", "a kind of a newer gateway", "question", "refused", question(9, "up")[0])
    write("bad_question_kind_none", "no kind", "question", "refused", question(0, "up")[0])
    write("bad_question_id", "of no id: nothing could be answered", "question", "malformed", question(1, "up", id_=0)[0])
    write("bad_question_long", "longer than a device has room for", "question", "refused",
          question(1, "up", [("n%d" % i, "v" * 40) for i in range(12)])[0])
    write("bad_question_cut", "the last byte is missing", "question", "malformed", whole[:-1])
    write("bad_question_label", "a label that is cut short", "question", "malformed",
          data(3, number(1, 1) + fixed(2, ID) + number(3, 1) + data(8, b"\x0a\x09up")))
    write("bad_question_twice", "two questions in one message", "question", "malformed", whole + whole)

    write("answer_nothing", "nothing of what was asked for is there", "answer", "good", *answer())
    write("answer_range", "the first piece of a range", "answer", "good",
          *answer(last=0, boot=BOOT, declarations=[CPU], blocks=[example, steady]))
    write("answer_relative", "a later piece: points of a clock segment that needs an offset", "answer", "good",
          *answer(piece=7, boot=BOOT, timeless=1, clocks=[(0, 1, 1699999999000, 1)], blocks=[steady]))
    write("answer_summary", "sums", "answer", "good",
          *answer(declarations=[TEMPERATURE],
                  summaries=[(8, 600, FROM, FROM + 599000, 21.53, -0.0, -4.0, 22.25, 12900.125, 2.0 ** -45)]))
    write("answer_unsummed", "series that do not fold, packed as proto3 writers do", "answer", "good",
          *answer(declarations=[CPU, TEMPERATURE], unsummed=[7, 8]))
    write("answer_unsummed_unpacked", "the same, one by one", "answer", "good",
          *answer(declarations=[CPU, TEMPERATURE], unsummed=[7, 8], packed=False))
    write("answer_busy", "another question is being answered", "answer", "good", *answer(error=1))
    write("answer_newer_fields", "fields of a newer device are skipped", "answer", "good", *answer(extra=news))
    good = answer(last=0, boot=BOOT, declarations=[CPU], blocks=[example])[0]
    write("bad_answer_version", "a higher major version", "answer", "refused", answer(version=2)[0])
    write("bad_answer_error", "an error of a newer device", "answer", "refused", answer(error=9)[0])
    write("bad_answer_cut", "the last byte is missing", "answer", "malformed", good[:-1])
    write("bad_answer_boot", "a block of no boot", "answer", "malformed", answer(declarations=[CPU], blocks=[example])[0])
    write("bad_answer_name", "a declaration whose name is none", "answer", "malformed",
          answer(declarations=[(7, "2 up", [], 1, 1, 0, "")])[0])
    nan = float("nan")
    for name, summary in {"count": (8, 0, FROM, TO, 1, 1, 1, 1, 1, 0), "nan": (8, 2, FROM, TO, 1, 1, 1, 1, nan, 0),
                          "infinite": (8, 2, FROM, TO, 1, 1, 1, float("inf"), 1, 0), "time": (8, 2, TO, FROM, 1, 1, 1, 1, 2, 0),
                          "crowd": (8, 5, FROM, FROM + 3, 1, 1, 1, 1, 5, 0), "order": (8, 2, FROM, TO, 1, 1, 3, 2, 2, 0)}.items():
        write("bad_answer_summary_" + name, "a summary that cannot be of any points", "answer", "malformed",
              answer(declarations=[TEMPERATURE], summaries=[summary])[0])


if __name__ == "__main__":
    main()
