"""Tables, figures and pages: those about runs from run directories alone, those about images from a survey of them."""
