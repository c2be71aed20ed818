"""Bytes to views: a policy says what may happen, a plan what will, a backend makes it happen."""

from augengine.draw import draw_plan
from augengine.loader.view_loader import ViewLoader
from augengine.plan import Plan
from augengine.policies import load_policy
from augengine.policy import Policy
from augengine.views import Views
