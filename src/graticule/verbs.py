"""The verbs of the command line and what their help says."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Verb:
    """What the help of a verb says; what it does is in the module of its name in `graticule.commands`."""

    summary: str
    usage: str
    text: str


VERBS = {
    "generate": Verb(
        "write simulated data in the layout of a published data set",
        "graticule generate WHAT --root FOLDER",
        """fisheye: streets of boxes, ray-cast through four fisheye lenses: photographs, labels, calibrations and (for
synwoodscape) depth, with the folders and formats of WoodScape.
dfc2021: land with towns, some lit at night, seen by four sensors: tiles with the files of IEEE GRSS DFC2021 DSE.
slumps: tundra with thaw slumps: scenes of Sentinel-2 and PLANET, labels, heights, trends, regions.
mnist: digits, drawn with a pen of many hands, in the four idx files of MNIST.
images: drawn pictures of land in a folder for each class, as EuroSAT, UC Merced and AID have them.
streets: photographs of streets with masks of water, classes and depth, and their lists: s as a game draws them, r
as a camera sees another town, rf of it under water; with --kind vkitti2 in Virtual KITTI 2's layout.
The same seed gives the same files.

examples:
  graticule generate streets --root streets --images 60 --size 256x256
  graticule generate fisheye --root street --images 40 --size 322x428
  graticule generate fisheye --root street --kind woodscape --seed 7
  graticule generate dfc2021 --root tiles --tiles 6
  graticule generate slumps --root tundra --scenes 24 --regions 4
  graticule generate mnist --root mnist --images 6000
  graticule generate images --root land --images 60""",
    ),
    "prepare": Verb(
        "write a source's samples to a store",
        "graticule prepare [key=value ...]",
        """Reads a source (the built-in Earth, a folder of GeoTIFFs, fisheye photographs) and writes a store of samples,
from which all else reads. The store's path is the last line printed.

examples:
  graticule prepare experiment=earth_small                  the built-in Earth
  graticule prepare experiment=earth source.grid=healpix:256
  graticule prepare source=rasters source.images=images source.labels=labels 'source.classes=[water,land]'
  graticule prepare source=woodscape source.root=woodscape source.grid=healpix:256
  graticule prepare source=scenes source.scenes=images source.labels=labels.gpkg prepare.workers=4
  graticule prepare experiment=slumps source.scenes=more --append      new scenes into the store that is there""",
    ),
    "train": Verb(
        "train a net on a store and evaluate it",
        "graticule train [key=value ...]",
        """Splits the store, audits the split for leaks, trains, evaluates on the test part, and prints the run folder.
Words choose from groups (model=unet) or set values (trainer.max_epochs=3); the reference of all of them is
docs/reference/configuration.md, and --print-config shows what they come to.

examples:
  graticule train experiment=earth_small
  graticule train experiment=earth source.grid=healpix:256 tracker=tensorboard
  graticule train experiment=earth_small debug=fast         two batches, to see everything work
  graticule train --config my_run.py trainer.max_epochs=3   a file (.py .toml .yaml), then words over it
  graticule train experiment=earth -m model=unet,segmentation_cnn run.seed=1,2,3
  graticule train experiment=earth -m run.seed=1,2 --launcher slurm --slurm partition=gpu --slurm gpus_per_node=1""",
    ),
    "profile": Verb(
        "measure what the data, or the net, of a configuration cost",
        "graticule profile data|model [key=value ...]",
        """data: set-up, first batch, batches by number of threads, time by step, beside bare reads, memory and disk;
and which data.num_workers to set. It takes every configuration that train takes.
model: parameters, operations, memory, time of a training step by part and of an epoch, largest batch; of the store's
batches, or with profile.shape=[BANDS,ROWS,COLUMNS] (on HEALPix [BANDS,CELLS]) without a store.
Tables are shown; config.yaml, profile.json and profile.png are written to a new folder of OUTPUT/_profiles, which is
the last line printed.

examples:
  graticule profile data experiment=earth_small
  graticule profile data experiment=earth data.batch_size=8 'profile.workers=[0,2,8]' profile.loops=9
  graticule profile model experiment=earth_small
  graticule profile model experiment=earth profile.trace=true          also trace.json, for Perfetto, and trace.txt
  graticule profile model model=unet 'profile.shape=[13,256,256]' profile.outputs=10
  graticule profile model model=heal_swin 'profile.shape=[3,524288]' 'profile.base_pixels=[0,1,2,3,4,5,6,7]'""",
    ),
    "probe": Verb(
        "measure how good a net's features are, beside a random start",
        "graticule probe NET STORE [STORE ...] [key=value ...]",
        """Leaves the net as it is, and tells from its features the classes of a store's samples: by their 5 and 20
nearest neighbours, and by a linear layer (L-BFGS, C chosen in validation), with 1, 5, 10 and 100 per cent of the
labels, over several draws, with intervals. The class of a window is that of most of its labelled pixels.
A table is shown; probe.json and probe.png are written to a new folder of OUTPUT/_probes, the last line printed.

examples:
  graticule probe runs/_runs/mossy-fjord-27-ab12cd34/backbone stores/land
  graticule probe RUN stores/land stores/earth              the encoder of any run that has one
  graticule probe random:resnet18 stores/land 'probe.shares=[0.1,1]' probe.seeds=3
  graticule probe resnet50 stores/land probe.size=224       with timm's published weights""",
    ),
    "crossval": Verb(
        "train on every fold with several seeds, and score",
        "graticule crossval [key=value ...]",
        """Trains one configuration on crossval.n_folds of split.total_folds folds, each with crossval.n_randoms seeds,
and writes run_infos.parquet and summary.json beside the run folders. The same words with the same crossval.name go on
where a killed cross-validation was, and so does `graticule resume FOLDER`.

examples:
  graticule crossval experiment=earth_small split.total_folds=3 crossval.n_randoms=2
  graticule crossval experiment=earth crossval.name=earth-cv 'crossval.scoring_metric=[val/iou,val/loss:lower]'""",
    ),
    "tune": Verb(
        "search for the best hyperparameters",
        "graticule tune [key=value ...] [--sweep-id ID] [--device DEVICE]",
        """Every trial is a cross-validation. The search space is under `hyperparameters` in the file of --hpconfig or
--config, or is a sweep file of Weights & Biases. Any number of runners, on any number of machines, work at one study:

                     no --device               --device 0
  no --sweep-id      create the study          create it and run tune.n_trials trials
  --sweep-id ID      an error                  join the study and run tune.n_trials trials

What a killed runner leaves is taken over by another and goes on at its last checkpoint.

examples:
  graticule tune experiment=earth_small --hpconfig search.yaml tune.n_trials=20 --device cpu
  graticule tune experiment=earth --hpconfig sweep.yaml tune.name=earth-lr      the name is the sweep id
  graticule tune --sweep-id earth-lr --device 1 --storage postgresql://me@db.org/studies
  graticule tune --sweep-id earth-lr --runners 8 --launcher slurm --slurm gpus_per_node=1""",
    ),
    "resume": Verb(
        "go on with a run that was interrupted",
        "graticule resume RUN [key=value ...]",
        """Goes on at the last checkpoint; weights, metrics and logs become those of a run that was never interrupted.
RUN may also be the folder of a cross-validation. Words may change the sections trainer, data, tracker, callbacks and
evaluate.

examples:
  graticule resume runs/_runs/mossy-fjord-27-ab12cd34
  graticule resume ab12cd34 data.num_workers=4              the id, or the one at MLflow
  graticule resume RUN --checkpoint best                    a new run that begins at this checkpoint""",
    ),
    "evaluate": Verb(
        "measure a run on its parts, on any grid",
        "graticule evaluate RUN [key=value ...]",
        """Predicts the samples of a part and writes metrics with intervals to RUN/evaluation/<part>-<grid>/.

examples:
  graticule evaluate runs/_runs/mossy-fjord-27-ab12cd34
  graticule evaluate RUN evaluate.grid=healpix:256          on another grid
  graticule evaluate RUN 'evaluate.parts=[val,test]' --checkpoint last
  graticule evaluate RUN 'evaluate.grid=[camera,camera:640x768:masked]'      photographs
  graticule evaluate RUN data.store=stores/photos-r         on another store, split as the run's is
  graticule evaluate RUN evaluate.grid=all                  every evaluation of HEAL-SWIN's guide""",
    ),
    "predict": Verb(
        "write the map of a whole scene, or of the whole Earth",
        "graticule predict RUN [RUN ...] [SCENE ...] [key=value ...]",
        """Walks over scenes in blended windows and writes maps to RUN/predictions/: GeoTIFF on rasters, with objects,
extent, thumbnail and STAC item; Zarr and FITS on HEALPix. A scene is a name of the source's, or the path of a GeoTIFF;
all of the source's if none is given. Several runs, or --checkpoint several times, give the mean of all. Scenes whose
products are all there are kept.

examples:
  graticule predict runs/_runs/mossy-fjord-27-ab12cd34      all scenes of its source
  graticule predict RUN source.grid=raster:0.25deg          the same Earth on another grid
  graticule predict RUN scenes/new.tif predict.probabilities=uint8
  graticule predict RUN scenes/*.tif predict.workers=4 predict.min_object_size=32
  graticule predict RUN OTHER_RUN new.tif --checkpoint best --checkpoint last
  graticule predict RUN photo.jpg                           a photograph, where the run's source is photos
  graticule predict RUN photo.png --calibration FV.json     a fisheye one: on it and on the sphere
  graticule predict RUN 00000_FV                            one of its source""",
    ),
    "render": Verb(
        "show photographs flooded, under smog, or in the light of a wildfire",
        "graticule render EVENT IMAGE [IMAGE ...]",
        """Smog needs the distance of every pixel, a wildfire the sky, a flood a mask and a painter. A trained masker
sees all three; files of the photograph's name (.npy, .npz, .png) come before it. `all` does what can be done, with a
sheet of all pictures of each photograph.

examples:
  graticule render all photos --run MASKER_RUN --painter PAINTER_RUN --size 640
  graticule render smog street.jpg --depth street.npy
  graticule render wildfire photos --segmentation labels --sky 13 --seed 7
  graticule render all photos/*.jpg --depth RUN/predictions --segmentation RUN/predictions --out pictures""",
    ),
    "test": Verb(
        "measure a run on the test part: pixels and objects of whole scenes",
        "graticule test RUN [key=value ...]",
        """The same as `graticule evaluate RUN 'evaluate.parts=[test]' evaluate.grid=scene`: what overlapping windows
predict is blended on their scene first, so that no object is cut. Words may say otherwise.

examples:
  graticule test runs/_runs/mossy-fjord-27-ab12cd34
  graticule test RUN evaluate.threshold=best                the threshold that scored best in validation""",
    ),
    "export": Verb(
        "write a run's model as a folder to be given away",
        "graticule export RUN [--to FOLDER] [--format FORMAT ...]",
        """Writes weights as safetensors, and bands, classes, grid and normalisation as JSON; with --format onnx or
torch also a program that takes stored values and gives probabilities, checked against the run's. `graticule predict
FOLDER SCENE` takes the folder for a run.

examples:
  graticule export runs/_runs/mossy-fjord-27-ab12cd34
  graticule export RUN --to models/slumps --format onnx --format torch""",
    ),
    "convert": Verb(
        "make a model of a checkpoint that DARTS wrote",
        "graticule convert CHECKPOINT --out FOLDER",
        """Reads a checkpoint of Lightning, or one that DARTS converted, without running anything in it, and writes its
net as `graticule export` does.

examples:
  graticule convert epoch=42.ckpt --out models/slumps
  graticule convert RTS_v6.ckpt --out models/rts --target rts --format onnx""",
    ),
    "mlflow": Verb(
        "start the server that shows the runs tracked by MLflow",
        "graticule mlflow [options]",
        """Starts `mlflow server` over what the tracker `mlflow` writes: by default the file mlflow.db beside the runs.
It listens on this machine only; whoever reaches its port can read and change everything, so give another --host only
where a firewall or a proxy with passwords stands before it.

examples:
  graticule mlflow
  graticule mlflow --port 5001 --root runs/_runs
  graticule mlflow --backend files --root mlruns""",
    ),
    "report": Verb(
        "make one HTML page of a run, or of several side by side",
        "graticule report RUN [RUN ...] [--out PAGE]",
        """Writes one self-contained page that opens anywhere, offline. Its path is the last line printed.

examples:
  graticule report runs/_runs/mossy-fjord-27-ab12cd34
  graticule report runs/_runs/earth-raster-* runs/_runs/earth-healpix-* --out compared.html""",
    ),
}
