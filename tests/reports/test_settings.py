from visionlab.reports import settings


def flat(**changes):
    config = {
        "seed": 0,
        "outputs": "here",
        "data": {"name": "set", "root": "/a", "published": True, "mean": [0.5, 0.5], "seed": 0},
        "model": {"name": "net", "network": {"_target_": "x.Net", "_partial_": True, "dropout": 0.5}},
        "optimizer": {"_target_": "torch.optim.Adam", "_partial_": True, "lr": 0.001},
        "callbacks": {"progress": {"show": True}},
    }
    for dotted, value in changes.items():
        *parents, last = dotted.split("__")
        node = config
        for parent in parents:
            node = node[parent]
        node[last] = value
    return settings.flatten(config)


def test_what_cannot_change_a_result_is_no_setting():
    found = flat()
    assert (found["optimizer"], settings.written(found["optimizer"])) == ("torch.optim.Adam", "Adam")
    assert found["data.mean"] == "[0.5, 0.5]"
    assert not {"outputs", "data.root", "callbacks.progress.show", "optimizer._partial_"} & set(found)


def test_only_what_differs_is_told_and_equal_numbers_are_equal():
    runs = [flat(), flat(optimizer__lr=0.01, seed=3), flat(optimizer__lr=0.001)]
    assert settings.differing(runs) == ["optimizer.lr"]
    assert settings.differing([flat(optimizer__lr=1), flat(optimizer__lr=1.0)]) == []
    one_batch, all_of_them = flat(trainer={"limit_val_batches": 1}), flat(trainer={"limit_val_batches": 1.0})
    assert settings.differing([one_batch, all_of_them]) == ["trainer.limit_val_batches"]


def test_classes_of_one_name_are_two():
    ours, theirs = flat(model__network={"_target_": "ours.Net"}), flat(model__network={"_target_": "theirs.Net"})
    assert settings.experiment(ours) != settings.experiment(theirs)
    assert settings.differing([ours, theirs]) == ["model.network"]


def test_seeds_and_folds_repeat_an_experiment_and_a_split_seed_does_not():
    assert settings.experiment(flat()) == settings.experiment(flat(seed=7, data__seed=7, data__fold=2, init_seed=9))
    assert settings.experiment(flat()) != settings.experiment(flat(data__split_seed=1))
    assert settings.experiment(flat()) != settings.experiment(flat(optimizer__lr=0.01))


def test_what_the_choice_of_a_model_implies_gets_no_column():
    other = {"model__name": "other", "model__network": {"_target_": "x.Other", "width": 2}}
    runs = [flat(), flat(**other), flat(**other, optimizer__lr=0.1)]
    keys = settings.differing(runs)
    assert {"model.network.dropout", "model.network.width", "model.network", "optimizer.lr"} == set(keys)
    assert settings.telling(runs, keys) == ["optimizer.lr"]
    same = [flat(), flat(model__network={"_target_": "x.Net", "dropout": 0.1})]
    assert settings.telling(same, settings.differing(same)) == ["model.network.dropout"]


def test_short_names_stay_distinct():
    keys = ["optimizer.lr", "scheduler.lr", "model.network.dropout", "optimizer"]
    assert list(settings.short_names(keys).values()) == ["optimizer.lr", "scheduler.lr", "dropout", "optimizer"]
    assert settings.short_names(["+seed", "optimizer.seed", "+data.white"]) == {
        "+seed": "seed",
        "optimizer.seed": "optimizer.seed",
        "+data.white": "white",
    }
