r"""Answers in the many styles in which models, under personas too, write them.

Each kind has right and wrong answers; the wrong ones are near misses, so that what reads a style
does not read too much into it.
"""

from __future__ import annotations

from typing import NamedTuple

import pytest

from persona_bench.grading.maths import grade_all


class Case(NamedTuple):
    gold: str
    response: str
    verdict: str = "correct"
    reason: str = ""
    truncated: bool = False
    integer: bool = False


RIGHT, WRONG = "correct", "wrong"

KINDS: dict[str, list[Case]] = {
    "value named in the box": [
        Case("(1,5)", r"So $\boxed{(a,b) = (1,5)}$."),
        Case("(1,5)", r"$\boxed{(a, b)=\left(1, 5\right)}$"),
        Case("(1,5)", r"$\boxed{(a,b) = (5,1)}$", WRONG),
        Case("(6,31,-1)", r"\[\boxed{(p,q,r) = (6,31,-1)}\]"),
        Case(r"\begin{pmatrix} 2 \\ 7 \end{pmatrix}",
             r"$\boxed{\vec{x} = \begin{pmatrix} 2 \\ 7 \end{pmatrix}}$"),
        Case(r"\begin{pmatrix} 2 \\ 7 \end{pmatrix}",
             r"$\boxed{\mathbf{A}\mathbf{x} = \begin{bmatrix} 2 \\ -7 \end{bmatrix}}$", WRONG),
        Case(r"\begin{pmatrix} 0 & 1 \\ 1 & 0 \end{pmatrix}",
             r"$\boxed{\mathbf{M} = \begin{pmatrix} 0 & 1 \\ 1 & 0 \end{pmatrix}}$"),
        Case(r"\text{odd}", r"$\boxed{f = \text{odd}}$"),
        Case(r"\text{odd}", r"$\boxed{f(x) = \text{even}}$", WRONG),
        Case(r"\text{Evelyn}", r"$\boxed{\text{winner} = \text{Evelyn}}$"),
        Case("[0,4)", r"$\boxed{x \in [0,4)}$"),
        Case("[0,4)", r"$\boxed{D = [0,4]}$", WRONG),
        Case("12", r"$\boxed{[ABC] = 12}$"),
        Case("12", r"$\boxed{|AB| = 12}$"),
        Case("30", r"$\boxed{\angle ABC = 30^\circ}$"),
        Case("12", r"$\boxed{x = y = 12}$"),
        Case("12", r"$\boxed{12 = x}$"),
        Case("12", r"$\boxed{\text{Area} = 12\text{ cm}^2}$"),
        Case("12", r"$\boxed{\text{Area} = 3 \times 4 = 12}$"),
        Case("x=5", r"$\boxed{y=5}$", WRONG),
    ],
    "a box for each member": [
        Case("4,-7", r"The roots are $\boxed{4}$ and $\boxed{-7}$."),
        Case("4,-7", r"$x = \boxed{-7}$ or $x = \boxed{4}$"),
        Case("4,-7", r"**$\boxed{4}$**, **$\boxed{-7}$**"),
        Case("4,-7", r"\[\boxed{4} \qquad \boxed{-7}\]"),
        Case("4,-7", r"\[ \boxed{4}, \; \boxed{-7} \]"),
        Case("4,-7", "1. $\\boxed{4}$\n2. $\\boxed{-7}$"),
        Case("4,-7", "* $x_1 = \\boxed{4}$\n* $x_2 = \\boxed{-7}$\n"),
        Case("4,-7", "\\[\\boxed{4}\\]\nand\n\\[\\boxed{-7}\\]"),
        Case("4,-7", r"$\boxed{4} \text{ or } \boxed{-7}$"),
        Case("4,-7", r"$\boxed{4}$ and $\boxed{7}$", WRONG),
        Case("4,-7", r"$\boxed{4}$", WRONG),
        Case("1,2,3", r"\boxed{1}, \boxed{2}, and \boxed{3}"),
        Case("1,2,3", r"\boxed{1}, \boxed{2}", WRONG),
        Case("8", r"We find $a = \boxed{3}$ and $b = \boxed{5}$, so the answer is $\boxed{8}$."),
        Case("2", r"It is $\boxed{5} - \boxed{3}$, that is $\boxed{2}$."),
    ],
    "stated after names": [
        Case("21", "Final Answer: The smallest $k$ is 21."),
        Case("21", "Final Answer: The value of $x$ is $21$."),
        Case("21", "Final Answer: The value of x + y is 21."),
        Case("21", "The answer: $f(3)$ is 21"),
        Case("21", "Final answer: the 5th term of the sequence is 21."),
        Case("21", "Answer: The area of triangle $ABC$ is $21$."),
        Case("21", "Answer: $BC$ is 21"),
        Case("21", "Final Answer: The number of ways in which $A$ and $B$ sit together is 21."),
        Case("21", "Final Answer: the minimum value of $a^2+b^2$ is 21"),
        Case("5", "Final answer: the 5th term of the sequence is 21.", WRONG),
        Case(r"\frac{2}{7}", r"Final Answer: The probability that $A > B$ is $\frac{2}{7}$."),
        Case(r"\frac{2}{7}", r"Final Answer: The chance that $2 > 7$ is $\frac{3}{7}$.", WRONG),
        Case("x^2+1", r"Final Answer: The polynomial $p(x)$ is $x^2+1$."),
        Case("17", "The answer is 17, which is 3 more than 14."),
        Case("14", "The answer is 17, which is 3 more than 14.", WRONG),
    ],
    "wrappers": [
        Case("30^\\circ", r"$\boxed{\mathbf{30^\circ}}$"),
        Case("30", r"$\boxed{\textbf{30°}}$"),
        Case("30", r"$\boxed{\mathrm{30}^\circ}$"),
        Case("30", r"$\boxed{\textcolor{red}{30}}$"),
        Case("30", r"$\boxed{\color{blue}{30}}$"),
        Case("30", r"$\boxed{\boldsymbol{30}}$"),
        Case("30", r"$\boxed{\underline{30}}$"),
        Case("30", r"$\boxed{\boxed{30}}$"),
        Case("30", r"$\boxed{\mathbf{31}}$", WRONG),
        Case(r"\frac{5\sqrt{2}}{3}", r"$\boxed{\mathbf{\dfrac{5\sqrt2}{3}}}$"),
        Case(r"\frac{5\sqrt{2}}{3}", r"$\boxed{\displaystyle \frac{5\sqrt{2}}{3}}$"),
        Case(r"\frac{5\sqrt{2}}{3}", r"$\boxed{\mathbf{\dfrac{5\sqrt3}{2}}}$", WRONG),
    ],
    "approximation beside the value": [
        Case(r"\sqrt{2}", r"$\boxed{\sqrt{2} \approx 1.41}$"),
        Case(r"2\pi", r"$\boxed{2\pi \approx 6.28}$"),
        Case(r"\pi", r"$\boxed{\pi \approx 3.14159}$"),
        Case(r"\pi", r"$\boxed{3.14}$", WRONG),
        Case(r"\frac{1}{3}", r"$\boxed{\frac13 \approx 0.333}$"),
        Case("e", r"$\boxed{e \approx 2.718}$"),
        Case(r"\sqrt{3}", r"$\boxed{x = \sqrt{3} \approx 1.732}$"),
        Case(r"\sqrt{3}", r"$\boxed{\sqrt{2} \approx 1.732}$", WRONG),
    ],
    "residues": [
        Case("4", r"$\boxed{4 \pmod{9}}$"),
        Case("4", r"$\boxed{4 \bmod 9}$"),
        Case("4", r"$\boxed{4 \mod 9}$"),
        Case("4", r"$\boxed{x \equiv 4 \pmod{9}}$"),
        Case("4", r"$\boxed{4\ (\text{mod } 9)}$"),
        Case("4", r"$\boxed{4 (mod 9)}$"),
        Case("9", r"$\boxed{4 \pmod{9}}$", WRONG),
        Case("5", r"$\boxed{x \equiv 4 \pmod{9}}$", WRONG),
    ],
    "decoration": [
        Case("7", r"$\boxed{\therefore x = 7}$"),
        Case("7", r"$\boxed{\Large 7}$"),
        Case("7", r"$\boxed{7 \; \checkmark}$"),
        Case("7", r"$\boxed{7}$ ✓"),
        Case("7", r"$\boxed{7 \quad \blacksquare}$"),
        Case("7", r"$\boxed{\begin{aligned} x &= 3 + 4 \\ &= 7 \end{aligned}}$"),
        Case("7", r"$\boxed{\begin{gathered} 7 \end{gathered}}$"),
        Case("7", r"$\boxed{7 \tag{1}}$"),
        Case("7", r"$\boxed{\begin{aligned} x &= 8 \end{aligned}}$", WRONG),
        Case("3,4", r"$\boxed{\begin{aligned} x &= 3 \\ y &= 4 \end{aligned}}$"),
        Case("7", "🎉 The answer is **7** 🎉"),
    ],
    "other writing of a value": [
        Case("1,2,9", r"$\boxed{\{1, 2, 9\}}$"),
        Case("1,2,9", r"$\boxed{\{9, 2, 1\}}$"),
        Case("1,2,9", r"$\boxed{\{1, 2, 8\}}$", WRONG),
        Case("10", r"$\boxed{\binom{5}{2}}$"),
        Case("10", r"$\boxed{5 \choose 2}$"),
        Case("20", r"$\boxed{{5 \choose 2}}$", WRONG),
        Case("3", r"$\boxed{\log_2 8}$"),
        Case("4", r"$\boxed{\log_2 8}$", WRONG),
        Case("120", r"$\boxed{5!}$"),
        Case("256", r"$\boxed{2^8}$"),
        Case("256", r"$\boxed{2^7}$", WRONG),
        Case(r"\frac{1}{8}", r"$\boxed{2^{-3}}$"),
    ],
    "LaTeX without dollars": [
        Case(r"\frac{7}{12}", r"So the probability is \frac{7}{12}."),
        Case(r"\frac{7}{12}", r"Hence P = \dfrac{7}{12}"),
        Case("12", r"So the probability is \frac{7}{12}.", WRONG),
        Case(r"2\sqrt{5}", r"Therefore the length is 2\sqrt{5}."),
        Case(r"\sqrt{5}", r"Therefore the length is 2\sqrt{5}.", WRONG),
        Case(r"-\frac{1}{2}", r"which gives -\frac{1}{2}"),
        Case(r"\frac{9}{20}", "\\begin{align*}\nP &= \\frac{3}{4} \\cdot \\frac{3}{5} \\\\\n"
             "&= \\frac{9}{20}.\n\\end{align*}"),
        Case("20", "\\begin{align}\nP &= \\frac{9}{20}\n\\end{align}", WRONG),
        Case(r"3\pi", r"The area is 3\pi."),
        Case("3", r"So $x = \dfrac{1}{3} $.", WRONG),
        Case(r"\frac{1}{3}", r"So $x = \dfrac{1}{3} $."),
        Case(r"\frac{1}{3}", r"The answer is \frac{1}{3}, as promised."),
    ],
    "answer tags": [
        Case("17", "<think>17 or 18?</think><answer>17</answer>"),
        Case("17", "<think>17 or 18?</think>\n<answer> 17 </answer>\nHope this helps 123"),
        Case("17", "<answer>The answer is 17 apples.</answer>"),
        Case("17", r"<answer>$\boxed{17}$</answer>"),
        Case("17", "<answer>x = 17</answer>"),
        Case("17", "<answer>3 + 14 = 17</answer>"),
        Case("17", "<ANSWER>17</ANSWER>"),
        Case("17", "<final_answer>17</final_answer>"),
        Case("17", "<answer>17"),
        Case("17", "Put it in <answer> </answer> tags. <answer>17</answer>"),
        Case("17", "<answer>18</answer>", WRONG),
        Case("17", "I guess 17. <answer>18</answer>", WRONG),
        Case("17", r"<answer>see below</answer> $\boxed{17}$"),
        Case(r"\frac{3}{8}", r"<answer>\frac{3}{8}</answer>"),
        Case(r"\frac{3}{8}", "<answer>3/8</answer>"),
        Case("(2,5)", "<answer>(2, 5)</answer>"),
    ],
    "abbreviations and closing words": [
        Case("7", "The answer is 7, i.e. 007 on the sheet."),
        Case("7", "The answer is 7, e.g. by counting."),
        Case("7", "The answer is 7 (see step 3)."),
        Case("7", "The answer is 7, a prime."),
        Case("7", "The answer is 7. QED."),
        Case("7", "The answer is 7; check: 3 + 4 = 7."),
        Case("7", "The answer is 70, i.e. 7 tens.", WRONG),
    ],
    "numbers in words": [
        Case(r"\frac{5}{2}", "The answer is two and a half."),
        Case(r"\frac{11}{4}", "The answer is two and three quarters."),
        Case(r"\frac{11}{4}", "The answer is two and one quarter.", WRONG),
        Case("3000000", "The answer is 3 million."),
        Case("2500", "The answer is 2.5 thousand."),
        Case("36", "The answer is 3 dozen."),
        Case("3", "The answer is 3 million.", WRONG),
        Case("1500000", "The total is 1.5 million."),
        Case(r"\frac{7}{3}", "Each gets 2 1/3 cakes."),
        Case(r"\frac{1}{3}", "Each gets 2 1/3 cakes.", WRONG),
        Case("45", "The answer is forty-five."),
        Case("105", "The answer is one hundred and five."),
    ],
    "Chinese, Japanese, Korean": [
        Case("13", "答案是13。"),
        Case("13", "答案：13"),
        Case("13", "所以答案为$13$。"),
        Case("13", "因此，x=13"),
        Case("13", "答えは13です。"),
        Case("13", "정답은 13입니다."),
        Case("13", "最终答案是 **13**。"),
        Case("12", "答案是13。", WRONG),
        Case(r"\frac{5}{6}", "概率为5/6"),
        Case("6", "概率为5/6", WRONG),
        Case("42", "共有42种方法"),
    ],
    "other languages": [
        Case("45", "Die Antwort ist 45. Das sind 3 mal 15."),
        Case("45", "Antwort: 45"),
        Case("45", "Das Ergebnis lautet 45, also 5 mal 9."),
        Case("45", "La réponse est 45. Merci de vos 2 questions."),
        Case("45", "La respuesta es 45. Son 3 veces 15."),
        Case("45", "Respuesta: **45**"),
        Case("45", "La risposta è 45, cioè 3 per 15."),
        Case("45", "A resposta é 45."),
        Case("45", "Ответ: 45. Это 3 раза по 15."),
        Case("45", "Antwort: 46. Das sind 45 und 1.", WRONG),
        Case("1234567", r"$\boxed{1.234.567}$"),
        Case("1234567", "Die Antwort ist 1.234.567."),
        Case("1234567", r"$\boxed{1 234 567}$"),
        Case("1.234", r"$\boxed{1.234}$"),
        Case("1234", r"$\boxed{1.234}$", WRONG),
    ],
    "taken back": [
        Case("8", "The answer is 7... wait, no, 8!"),
        Case("8", "The answer is 7 — no, it's 8."),
        Case("8", "The answer is 7, sorry, I mean 8."),
        Case("8", "The answer is 7. No, wait: 8."),
        Case("8", "The answer is 7, or rather 8."),
        Case("8", "The answer is $7$... oops, $8$."),
        Case("8", "The answer is ~~7~~ 8."),
        Case("8", "The answer is ~~7~~ **8**"),
        Case("8", "The answer is <s>7</s> 8."),
        Case("7", "The answer is ~~7~~ 8.", WRONG),
        Case("7", "The answer is 7 — no, it's 8.", WRONG),
        Case("7", "The answer is 7, no doubt about it, with 3 to spare."),
        Case("7", "The answer is 7. Wait until you see the 8 others!"),
    ],
    "too large to compute": [
        Case("25", r"$\boxed{10^{10^{10}}}$", WRONG, "wrong_answer"),
        Case("25", r"$\boxed{9^{9^{9^{9}}}}$", WRONG, "wrong_answer"),
        Case("7", r"$\boxed{1000000!}$", WRONG, "wrong_answer"),
        Case("7", r"$\boxed{(10^{10})!}$", WRONG, "wrong_answer"),
        Case(r"\sqrt{2}", r"$\boxed{2^{2^{2^{2^{2^{2}}}}}}$", WRONG, "wrong_answer"),
        Case("x+1", r"$\boxed{x + 10^{10^{10}}}$", WRONG, "wrong_answer"),
        Case("25", r"$\boxed{\frac{1}{10^{10^{10}}}}$", WRONG, "wrong_answer"),
        Case("073", r"$\boxed{10^{10^{10}}}$", WRONG, "wrong_answer", integer=True),
        Case("2^{100}", r"$\boxed{2^{100}}$"),
        Case("2^{100}", r"$\boxed{1267650600228229401496703205376}$"),
        Case("2^{100}", r"$\boxed{2^{101}}$", WRONG),
    ],
    "tiny values": [
        Case(r"\frac{1}{2^{80}}", r"$\boxed{\frac{1}{2^{80}}}$"),
        Case(r"\frac{1}{2^{80}}", r"$\boxed{2^{-80}}$"),
        Case(r"\frac{1}{2^{80}}", r"$\boxed{\frac{1}{4^{40}}}$"),
        Case(r"\frac{1}{2^{80}}", r"$\boxed{\frac{1}{2^{81}}}$", WRONG),
        Case(r"\frac{1}{2^{80}}", r"$\boxed{0}$", WRONG),
        Case(r"\frac{1}{10!^{4}}", r"$\boxed{\frac{1}{10!^{3}}}$", WRONG),
        Case(r"\frac{\sqrt{2}}{10^{30}}", r"$\boxed{\frac{\sqrt{3}}{10^{30}}}$", WRONG),
        Case(r"\frac{\sqrt{2}}{10^{30}}", r"$\boxed{\sqrt{2} \cdot 10^{-30}}$"),
    ],
    "reasoning": [
        Case("17", r"<think>\boxed{3}</think>The answer is 17."),
        Case("17", r"I first thought 3.</think>\boxed{17}"),
        Case("17", r"<think>\boxed{17} hmm", WRONG, "truncated", truncated=True),
        Case("17", "<think>The answer is 17. But let me", WRONG, "truncated", truncated=True),
        Case("17", r"<think>\boxed{17} hmm", WRONG, "no_answer"),
        Case("17", r"Let me think. <think>\boxed{17}", WRONG, "truncated", truncated=True),
        Case("17", r"<seed:think>\boxed{17}", WRONG, "truncated", truncated=True),
        Case("17", r"<seed:think>\boxed{3}</seed:think>The answer is 17."),
        Case("17", "<|channel>thought\nmaybe \\boxed{3}\n<channel|>The answer is 17."),
        Case("17", "<|channel>thought\nmaybe \\boxed{17}", WRONG, "truncated", truncated=True),
        Case("17", r"<|START_THINKING|>\boxed{17}", WRONG, "truncated", truncated=True),
        Case("17", r"<|START_THINKING|>\boxed{3}<|END_THINKING|>"
             "<|START_RESPONSE|>17<|END_RESPONSE|>"),
        Case("17", r"[THINK]\boxed{3}[/THINK]17"),
        Case("17", r"[THINK]\boxed{17}", WRONG, "truncated", truncated=True),
        Case("17", r"◁think▷\boxed{17}", WRONG, "truncated", truncated=True),
        Case("17", r"<|channel|>analysis<|message|>\boxed{17}", WRONG, "truncated", truncated=True),
        Case("17", "<|channel|>analysis<|message|>3?<|end|><|start|>assistant<|channel|>commentary"
             "<|message|>4?<|end|><|start|>assistant<|channel|>final<|message|>It is \\boxed{17}"),
        Case("17", r"analysisWe need 3, so \boxed{3}.assistantfinalThe answer is 17."),
        Case("17", r"analysisWe need \boxed{17}", WRONG, "truncated", truncated=True),
        Case("17", r"<think>a</think>\boxed{17} <think>no, \boxed{3}"),
        Case("17", r"<reasoning>\boxed{3}</reasoning><answer>17</answer>"),
    ],
    "speech of characters": [
        Case("42", "Forty-two, the answer is. Hmm. Strong with 6 and 7, it was."),
        Case("42", "42, the answer be! Arr, 6 times 7."),
        Case("42", "$42$, my answer is. Yes, hmm, 6 of 7."),
        Case("41", "Forty-two, the answer is. Hmm.", WRONG),
        Case("24", "I refuse to answer such questions! Fine: 6 times 4 is 24."),
        Case("24", "I won't answer. Bah! It makes 24."),
        Case("24", "I refuse to answer such questions!", WRONG, "refused"),
        Case("19", "Well partner, the answer comes to 19 head o' cattle, sure as I own 2 boots."),
        Case("19", "Beep boop. ANSWER = 19. Battery at 97 percent."),
        Case("19", "The treasure be **19** doubloons, matey!"),
        Case("19", "Verily, the sum thou seekest is 19, good sir."),
        Case("19", "*adjusts glasses* The answer is, of course, 19."),
        Case("19", "OMG so the answer is like 19???"),
        Case("19", "The answer's 19, innit."),
    ],
}  # fmt: skip


@pytest.mark.parametrize("kind", KINDS)
def test_answers_in_every_style(kind: str) -> None:
    cases = KINDS[kind]
    found = {}
    for integer in (False, True):
        own = [case for case in cases if case.integer == integer]
        verdicts = grade_all(
            [case.response for case in own],
            [case.gold for case in own],
            truncated=[case.truncated for case in own],
            integer=integer,
        )
        found |= dict(zip(own, verdicts, strict=True))
    missed = [
        f"gold {case.gold!r}: {case.response!r} is {case.verdict} {case.reason}, got {verdict}"
        for case, verdict in found.items()
        if verdict.verdict != case.verdict or case.reason not in ("", verdict.reason)
    ]
    assert missed == []
