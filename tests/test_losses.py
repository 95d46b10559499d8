import pytest
import torch

from derain_video.models.losses import LOSSES, DynamicLossSchedule, mask_loss, picture_loss


def test_schedule_goes_from_square_to_absolute() -> None:
    schedule = DynamicLossSchedule(momentum=0.0)
    weight = torch.ones(4)
    schedule(torch.full((4,), 0.2), weight)
    assert schedule.exponent == pytest.approx(1.9)
    schedule(torch.full((4,), 0.05), weight)
    assert schedule.exponent == pytest.approx(1.0)


def test_a_settled_schedule_begins_at_its_end() -> None:
    schedule = DynamicLossSchedule(settled=True)
    schedule(torch.full((4,), 0.2), torch.ones(4))
    assert schedule.exponent == pytest.approx(1.0)


def test_late_gradients_are_bounded_and_small_for_small_errors() -> None:
    schedule = DynamicLossSchedule(momentum=1.0)
    schedule.resume({"first": 0.9, "running": 0.1})
    error = torch.tensor([0.001, 0.9], requires_grad=True)
    schedule(error, torch.ones(2)).backward()
    assert error.grad is not None
    small, large = (2 * error.grad).tolist()  # of a mean of two
    assert small == pytest.approx(0.01, rel=0.01)
    assert 0.95 < large <= 1.0


def test_weight_decides_what_counts() -> None:
    schedule = DynamicLossSchedule()
    assert float(schedule(torch.tensor([0.0, 0.5]), torch.tensor([1.0, 0.0]))) == 0.0


def test_a_resumed_schedule_goes_on() -> None:
    first, second = DynamicLossSchedule(), DynamicLossSchedule()
    first(torch.tensor([0.4]), torch.ones(1))
    first(torch.tensor([0.1]), torch.ones(1))
    second.resume(first.state())
    assert second.exponent == first.exponent and second.running == first.running


def test_masks_are_judged_at_their_own_scale() -> None:
    mask = torch.zeros(1, 1, 8, 8)
    mask[..., :4] = 1.0
    right = tuple(torch.where(torch.arange(side) < side / 2, 20.0, -20.0).expand(1, 1, side, side) for side in (8, 2))
    assert float(mask_loss(right, mask)) < 1e-6
    assert float(mask_loss(tuple(-logit for logit in right), mask)) > 10


@pytest.mark.parametrize("name", LOSSES)
def test_every_loss_is_nothing_without_error_and_grows_with_it(name: str) -> None:
    def loss(size: float) -> float:
        made = picture_loss(name)
        made(torch.full((4,), 0.1), torch.ones(4))
        return float(made(torch.full((4,), size), torch.ones(4)))

    assert loss(0.0) < 2e-3
    assert loss(0.02) < loss(0.1) < loss(0.3)


def test_fixed_losses_weigh_alike() -> None:
    error, weight = torch.full((4,), 5 / 255), torch.ones(4)
    assert [float(picture_loss(name)(error, weight)) for name in ("l1", "l2", "charbonnier")] == pytest.approx([5 / 255] * 3, rel=0.01)
