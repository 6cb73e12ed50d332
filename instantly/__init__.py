"""instantly-service: runs cold-email outreach through the Instantly.ai API V2.

Nothing is imported here: `instantly.server` must come before everything else of this package.
"""

__version__ = "1.0.0"
