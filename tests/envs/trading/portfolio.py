"""What its portfolio is checked against."""

from tests.envs.trading_oracle import REFERENCE as ORACLE

__all__ = ["ORACLE"]
