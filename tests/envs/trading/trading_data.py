"""What its account is checked against."""

from tests.envs.trading_oracle import GYM_TRADING_ENV as ORACLE

__all__ = ["ORACLE"]
