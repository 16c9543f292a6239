import pytest

from graticule.conf.compose import Request, compose
from graticule.conf.tuned import find_key, with_values
from graticule.errors import ConfigError


@pytest.fixture(scope="module")
def config():
    return compose(Request(["experiment=dfc2021"]))


def test_a_sweep_of_the_course_tries_all_three_nets_with_the_options_of_each(config):
    names = ["model_type", "n_encoders", "embedding_size", "pool_sizes", "learning_rate"]
    keys = [find_key(name, config) for name in names]
    made = {}
    for net in ("UNet", "SegmentationCNN", "FCNResnetTransfer"):
        found = with_values(config, dict(zip(keys, [net, 3, 16, "5,10", 0.01], strict=True))).to_dict()
        assert found["optim"]["optimizer"]["lr"] == 0.01
        made[net] = found["model"]
    assert made["UNet"]["name"] == "unet"
    assert (made["UNet"]["levels"], made["UNet"]["channels"]) == (3, 16)
    assert made["SegmentationCNN"]["pool_sizes"] == [5, 10]
    assert made["SegmentationCNN"]["embedding_size"] == 16
    assert made["SegmentationCNN"]["upsample"] == "nearest"
    assert made["FCNResnetTransfer"] == {"name": "fcn_resnet101", "encoder_weights": None}


@pytest.mark.parametrize("name", ["scale_factor", "in_channels", "out_channels"])
def test_what_follows_from_the_data_is_no_hyperparameter(config, name):
    with pytest.raises(ConfigError, match=f"hyperparameter '{name}' follows from the data here .*; leave it out"):
        find_key(name, config)


def test_options_of_other_nets_keep_their_own_meaning():
    config = compose(Request(["model=smp"]))
    with pytest.raises(ConfigError, match="no hyperparameter is named 'n_encoders'"):
        find_key("n_encoders", config)


@pytest.mark.parametrize(
    ("experiment", "net"), [("dfc2021", "unet"), ("dfc2021_cnn", "segmentation_cnn"), ("dfc2021_fcn", "fcn_resnet101")]
)
def test_the_three_experiments(experiment, net):
    found = compose(Request([f"experiment={experiment}"]))
    assert found.model.name == net
    assert found.evaluate.restitch
    assert found.split.method == "random"
