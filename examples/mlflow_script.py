"""A script that was written for MLflow; the line that imports it is the only one changed.

    python mlflow_script.py

With ``import mlflow`` the same file runs under MLflow. There is no server to start and no tracking URI to set:
the run goes into the git repository around the current folder, on the branch ``gittrack/iris``.
"""

import matplotlib

matplotlib.use("Agg")  # draws into files, without a display

import matplotlib.pyplot as plt
from sklearn.datasets import load_iris
from sklearn.ensemble import GradientBoostingClassifier
from sklearn.metrics import accuracy_score, log_loss
from sklearn.model_selection import train_test_split

import gittrack as mlflow

params = {"n_estimators": 40, "learning_rate": 0.1, "max_depth": 2, "random_state": 7}

iris = load_iris(as_frame=True)
train, test = train_test_split(iris.frame, test_size=0.3, random_state=7, stratify=iris.target)
columns = list(iris.feature_names)

mlflow.set_experiment("iris")
with mlflow.start_run(run_name="gradient-boosting", tags={"stage": "example"}) as run:
    mlflow.log_params(params)
    mlflow.log_input(mlflow.data.from_pandas(train, name="iris", targets="target"), context="training")

    model = GradientBoostingClassifier(**params).fit(train[columns], train["target"])
    for step, probabilities in enumerate(model.staged_predict_proba(test[columns]), start=1):
        mlflow.log_metric("test_log_loss", log_loss(test["target"], probabilities), step=step)
    mlflow.log_metric("test_accuracy", accuracy_score(test["target"], model.predict(test[columns])))

    figure, axes = plt.subplots(layout="constrained")
    axes.barh(columns, model.feature_importances_)
    axes.set_xlabel("importance")
    mlflow.log_figure(figure, "plots/importances.png")
    mlflow.log_dict(dict(zip(columns, model.feature_importances_.tolist(), strict=True)), "importances.json")
    mlflow.set_tag("checked", "yes")

finished = mlflow.get_run(run.info.run_id)
print(f"{finished.info.run_name}: {finished.info.status}, params {finished.data.params}")
print(f"test accuracy {finished.data.metrics['test_accuracy']:.3f}")

client = mlflow.MlflowClient()
losses = client.get_metric_history(run.info.run_id, "test_log_loss")
best = min(losses, key=lambda metric: metric.value)
print(f"lowest test loss {best.value:.3f} after {best.step} of {len(losses)} trees")
print("artifacts:", ", ".join(found.path for found in client.list_artifacts(run.info.run_id)))
