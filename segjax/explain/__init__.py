"""What an operation does and what a model costs, as text, numbers and figures.

In Python, `segjax.explain.conv.explain_conv`, `.rates.explain_rates`, `.skips.explain_skips`,
`.upsampling.explain_upsampling`, `.model.explain_model` and `.transforms.explain_transforms`
return what `python -m segjax.explain` prints.
"""
