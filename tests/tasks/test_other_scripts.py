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


@pytest.mark.parametrize(
    "text",
    [
        "猫は座布団の上にいます。",
        "アメリカ",
        "แมวนั่งบนเสื่อ",
        "ឆ្មាអង្គុយលើកន្ទេល",
        "ແມວນັ່ງຢູ່ເທິງເສື່ອ",
        "ကြောင်",
        "བོད་ཡིག",
        "GPT模型很好",
        "١٩٤٥",
        "!!!",
        "👍",
    ],
)
def test_no_script_scores_nothing_for_the_same_text(text):
    assert rouge(text, text)["rouge1"] == rouge(text, text)["rougeL"] == 1
    assert agreement(text + " ", text) == 1
    assert agreement(text, "Otherwise") == 0


def test_mixed_texts_and_texts_of_signs_are_compared():
    assert agreement("The cat 猫 sat", "The cat 狗 sat") == pytest.approx(3 / 4)
    assert rouge("GPT模型不好", "GPT模型很好")["rouge1"] == pytest.approx(4 / 5)
    assert rouge("👍👍", "👍👎")["rouge1"] == pytest.approx(1 / 2)
    assert rouge("?!", "Otherwise")["rouge1"] == 0
    assert agreement("…", "!") == 0
