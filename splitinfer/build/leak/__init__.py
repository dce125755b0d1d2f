"""How well the input can be rebuilt from what crosses: a lower bound, by simple attackers in closed form.

The attacker knows some inputs and what crossed for them (the samples that calibrate), learns to undo the head, and rebuilds
inputs that he has not seen (the samples that report) from what crossed for these, as it arrives behind the plan's codec. There
are two of him, and the one that does better on known inputs he held out is reported:

local       one linear map from each place of the feature maps to the patch of the picture behind it, shared by all places
whole       one linear map from everything that crosses to the whole input

A network trained as a decoder rebuilds more: nothing here says that a plan is private.

secret      the inputs: which of them, at which size, known and hidden
planes      tensors as maps over a plane; changing their size
ridge       linear maps, fitted in closed form
local       the first attacker
whole       the second one
attack      how far the better one gets
likeness    PSNR and SSIM
plans       the leak of every plan of a scorecard; all others know no codec and no engine
"""

from splitinfer.build.leak.attack import at_least
from splitinfer.build.leak.plans import with_leaks
from splitinfer.build.leak.secret import HIDDEN, KNOWN, Secret, secret_of

__all__ = ["HIDDEN", "KNOWN", "Secret", "at_least", "secret_of", "with_leaks"]
