"""Boards in ComfyUI's history, of which only the newest have pictures."""

from diffusion_probe.engine.board.history import HistoryBoards


def board(picture="p" * 60):
    return {"kind": "search", "rows": [{"seed": "1", "score": 0.5, "picture": picture, "heats": {"0": "h" * 40}}]}


def test_pictures_of_the_oldest_boards_are_taken_out_and_all_else_stays():
    kept = HistoryBoards(most_bytes=250)
    boards = [kept.add(board()) for _ in range(100)]
    assert kept.size == 200 and len(kept._boards) == 2
    assert [each["rows"][0]["picture"] is None for each in boards] == [True] * 98 + [False] * 2
    assert boards[0]["rows"][0] == {"seed": "1", "score": 0.5, "picture": None, "heats": {}}


def test_the_newest_board_keeps_its_pictures_whatever_they_take():
    kept = HistoryBoards(most_bytes=10)
    first, second = kept.add(board()), kept.add(board())
    assert first["rows"][0]["picture"] is None and second["rows"][0]["picture"]
