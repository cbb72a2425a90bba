"""Buckets of tokens: what is granted at once, later, and to whom."""

from segjax.page.limits import TokenBuckets


def buckets(rate, burst):
    """Buckets and the list whose last number is the time."""
    now = [0.0]
    return TokenBuckets(rate, burst, clock=lambda: now[-1]), now


def test_a_burst_is_granted_at_once_and_then_one_request_each_time_a_token_comes():
    tokens, now = buckets(0.5, 3)
    assert [tokens.take("a") for _ in range(4)] == [0, 0, 0, 2.0]
    now.append(1.5)
    assert tokens.take("a") == 0.5
    now.append(2.0)
    assert tokens.take("a") == 0 and tokens.take("a") == 2.0


def test_a_rest_fills_a_bucket_to_its_burst_and_no_further():
    tokens, now = buckets(1.0, 2)
    tokens.take("a")
    now.append(1000.0)
    assert [tokens.take("a") for _ in range(3)] == [0, 0, 1.0]


def test_addresses_do_not_share_a_bucket_and_only_so_many_are_remembered(monkeypatch):
    monkeypatch.setattr(TokenBuckets, "MOST", 2)
    tokens, _ = buckets(1.0, 1)
    assert [tokens.take(address) for address in "aabb"] == [0, 1.0, 0, 1.0]
    assert tokens.take("c") == 0
    assert tokens.take("b") == 1.0 and tokens.take("a") == 0
