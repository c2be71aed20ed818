"""Heavy views: made of finished ones by RandAugment, or by their tiles in another order.

No backend knows of them: it makes the views of a plan, and `backends/heavy_views.py` makes heavy
ones of those, alike for every backend. What may happen is `heavy_policy.py`, what will is
`heavy_plan.py`, the ops and their ranges are `heavy_ops.py`, and what each op means, slowly and
plainly, is `plain_ops.py`. No torch here.
"""
