"""Pages for people: a cut model drawn, and what happened on a timeline. Values in, one self-contained HTML page out.

Knows no clock, no network and no runtime; writes no file. A page loads nothing from anywhere, needs no script, can be printed
and follows the reader's light or dark scheme. The same values give the same bytes.

markup      text that is escaped unless it is markup already
numbers     figures with units
scale       values to pixels
panel       axes and what is drawn between them
marks       the shapes of single points
page        the frame around everything, tables, legends
strip       the model as a chain of boxes
boundaries  every boundary of a model
scores      bytes of the plans, times of the cuts
rates       bytes against answers kept, cut by cut
leaks       how much of the input is shown
model_page  all of it for a bundle
report      the values behind a report: several ways along one timeline
compared    the ways next to each other
timeline    what happened when
report_page all of it for a report
simulated_spread  distributions and costs of a simulation
simulated_course  one simulated link over time
simulated   all of it for a simulation
"""

from splitinfer.picture.model_page import model_page
from splitinfer.picture.report import Change, Figures, Leg, Moment, Report, Run, Stretch
from splitinfer.picture.report_page import report_page

__all__ = ["Change", "Figures", "Leg", "Moment", "Report", "Run", "Stretch", "model_page", "report_page"]
