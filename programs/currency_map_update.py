"""Makes the conversion map `currency`: by what an amount in a currency is divided to be one in the base currency."""

import json
import math

from _web import Web

from tutti.program import write_map


class CurrencyMapUpdate:
    """Makes the conversion map `currency`: by what amounts are divided to be amounts in the base currency."""

    def __init__(self, currencies: list = [], base: str = "USD", url: str = "https://api.frankfurter.dev/v1/latest", member: str = "rates",
                 other_url: str = "", factor: float = 0.95, timeout_s: float = 60.0):
        self.currencies, self.base, self.url, self.member = currencies, base, url, member
        self.other_url, self.factor, self.web = other_url, factor, Web(timeout_s)

    def _run(self):
        self.update("pull", "started")
        rates = {name.upper(): rate(name, value) for name, value in self.answer(self.url, base=self.base)[self.member].items()}
        for name in self.currencies:
            if name.upper() not in rates and name.upper() != self.base.upper():
                rates[name.upper()] = self.other(name.upper())
        self.update("pull", "completed")
        self.update("store", "attempted")
        write_map("currency", {**{name: value * self.factor for name, value in rates.items()}, self.base: 1.0})
        self.update("store", "completed")
        self.count("currencies", len(rates))
        return True

    def answer(self, url, **params):
        try:
            found = json.loads(self.web.fetch(url, params))
        except ValueError:
            raise RuntimeError("%s gives no JSON" % url) from None
        if not isinstance(found, dict) or (url == self.url and not isinstance(found.get(self.member), dict)):
            raise RuntimeError("%s gives no rates at `%s`" % (url, self.member))
        return found

    def other(self, name):
        """One that the first site does not know, from a second one, which answers {"USD_XYZ": 1.5}."""
        pair = "%s_%s" % (self.base, name)
        if not self.other_url:
            raise RuntimeError("%s knows no rate of %s, and there is no `other_url`" % (self.url, name))
        found = self.answer(self.other_url, q=pair, compact="ultra")
        if pair not in found:
            raise RuntimeError("%s knows no rate of %s" % (self.other_url, name))
        return rate(name, found[pair])


def rate(name, value):
    """Amounts are divided by it."""
    number = float(value)
    if not math.isfinite(number) or number <= 0:
        raise RuntimeError("the rate of %s is %r" % (name, value))
    return number
