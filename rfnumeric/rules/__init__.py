"""Learning rules, one a file, behind one interface (`rfnumeric.rules.interface`)."""

from rfnumeric.rules.backprop import Backprop
from rfnumeric.rules.batch_reciprocal import BatchReciprocal
from rfnumeric.rules.feedback_alignment import FeedbackAlignment
from rfnumeric.rules.interface import Feedback, Rule
from rfnumeric.rules.mean_reciprocal import MeanReciprocal
from rfnumeric.rules.mean_reciprocal_learned import MeanReciprocalLearned
from rfnumeric.rules.pseudo_backprop import PseudoBackprop
from rfnumeric.rules.registry import RULES, get_rule, register, rule_names
from rfnumeric.rules.rf_parallel import RFParallel
from rfnumeric.rules.rf_two_phase import RFTwoPhase
from rfnumeric.rules.step import Step, training_step

__all__ = [
    "RULES",
    "Backprop",
    "BatchReciprocal",
    "Feedback",
    "FeedbackAlignment",
    "MeanReciprocal",
    "MeanReciprocalLearned",
    "PseudoBackprop",
    "RFParallel",
    "RFTwoPhase",
    "Rule",
    "Step",
    "get_rule",
    "register",
    "rule_names",
    "training_step",
]
