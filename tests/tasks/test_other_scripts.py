"""ROUGE and agreement where letters are not a to z."""

import pytest

from tasks.scoring.rouge import agreement, rouge, sentences

CHINESE = "猫坐在垫子上。它很高兴。"


def test_a_script_without_spaces_is_compared_by_characters():
    assert set(rouge(CHINESE, CHINESE).values()) == {1.0}
    assert rouge("猫在睡觉。", CHINESE)["rouge1"] == pytest.approx(2 * 2 / (4 + 10))
    assert rouge("天气真好", CHINESE)["rouge1"] == 0
    assert sentences(CHINESE) == ["猫坐在垫子上。", "它很高兴。"]


@pytest.mark.parametrize(
    ("text", "other"),
    [
        ("Der Bär überquert die Straße", "Der Bar uberquert die Strasse"),
        ("猫坐在垫子上，很高兴。", "猫坐在垫子上，很高兴！"),
        ("Молодёжь идёт домой", "молодежь идет домой"),
        ("القاهرةُ", "القاهرة"),
    ],
)
def test_what_reads_the_same_agrees(text, other):
    assert agreement(text, other) == 1
    assert agreement(text, "1234") == 0


def test_scripts_with_spaces_are_compared_by_words():
    assert rouge("Кошка спит дома", "Кошка ест дома")["rouge1"] == pytest.approx(2 / 3)
