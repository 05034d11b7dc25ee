"""Going to the places where the result is least sure."""

from slicer.i18n import tr as _

from ..messages import errorsShown

__all__ = ["InspectPlaces"]


class InspectPlaces:
    """Three buttons, and a line on the place that is shown.

    Args:
        ui: The panel's widgets.
        inspect: `InspectPart`.
        maps: `InspectMaps`: the expected error tells the places.
    """

    def __init__(self, ui, inspect, maps):
        self._ui, self._inspect, self._maps = ui, inspect, maps
        self._tour = self._of = None
        ui.worstPlaceButton.connect("clicked(bool)", lambda _checked=False: self._go(0))
        ui.nextPlaceButton.connect("clicked(bool)", lambda _checked=False: self._go(1))
        ui.previousPlaceButton.connect("clicked(bool)", lambda _checked=False: self._go(-1))

    def update(self):
        """Enable what makes sense, and say where the views are."""
        ui, transform = self._ui, self._inspect.transform
        if self._of is not transform or not self._inspect.looking.active:
            self._tour = self._of = None
        tour = self._tour
        free = self._inspect.free
        ui.worstPlaceButton.enabled = free
        ui.previousPlaceButton.enabled = free and tour is not None and tour.index > 0
        ui.nextPlaceButton.enabled = free and tour is not None and 0 <= tour.index < len(tour.places) - 1
        place = tour.present if tour is not None else None
        ui.placeLabel.visible = place is not None
        if place is not None:
            ui.placeLabel.text = _("{number} of {count}: {reason}").format(
                number=tour.index + 1, count=len(tour.places), reason=place.reason
            )

    def cleanup(self):
        """Nothing goes on by itself."""

    def _go(self, by):
        transform = self._inspect.transform

        def step(_made):
            from GenRegLogic.mrml.views.tour import PlacesTour

            looking = self._inspect.looking
            if self._inspect.transform is not transform:  # another one was selected meanwhile
                return
            looking.modes.begin()
            if self._tour is None or self._of is not transform or by == 0:
                self._tour, self._of = PlacesTour(looking.maps.worst(transform)), transform
            if self._tour.step(looking.modes.scene, by) is None:
                self._ui.placeLabel.visible = True
                self._ui.placeLabel.text = _("No place stands out.")
                looking.leave()
                return
            looking.changed()

        with errorsShown():
            self._maps.have(("confidence",), _("Looking for the worst places"), step)
        self._inspect.update()
