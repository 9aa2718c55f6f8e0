# ruff: noqa: E501 - the words of the two pages, one field a line
"""The facts of the two endpoints' own pages, as the tests compare them."""

from prefect_ltx.fal import INGREDIENT, REFERENCE_VIDEO

# The two pages, field by field in their order: name | type | default | range or options | description.
PAGES = {
    REFERENCE_VIDEO: """
prompt | string | required | | The prompt to guide generation.
video_url | string | required | | The URL of the reference video that supplies motion/structure.
image_url | string | none | | Optional reference image used by the IC-LoRA Union node for style/character anchoring.
video_strength | float | 0.6 | 0 to 1 | Video conditioning strength. Lower values give the model more freedom to change the reference video motion/structure.
num_frames | integer | 121 | 9 to 481 | The number of frames to generate.
resolution | ImageSize, Enum | "auto" | | The size of the generated video. 'auto' keeps the official Union Control workflow's low-resolution control output size, while an explicit size requests a larger generated output.
frames_per_second | float | 24 | 1 to 60 | Frames per second of the generated video.
num_inference_steps | integer | 15 | 8 to 30 | Number of inference steps. Defaults to 15 for this distilled ComfyUI workflow and can be increased up to 30.
guidance_scale | float | 1 | 1 to 20 | Classifier-free guidance scale. The default follows the distilled LTX-2.3 workflow.
generate_audio | boolean | true | | Whether to include audio in the returned video. When disabled, the final MP4 is returned without an audio track.
negative_prompt | string | "color distortion, overexposure, static, blurry details, subtitles, style, artwork, painting, frame, still, dim overall tone, worst quality, low quality, JPEG compression artifacts, ugly, mutilated, extra fingers, poorly drawn hands, poorly drawn face, deformed, disfigured, malformed limbs, fused fingers, motionless frame, cluttered background, three legs, crowded background, walking backwards" | | The negative prompt to steer generation away from.
seed | integer | none | | Random seed for reproducibility. If None, a random seed is chosen.
enable_prompt_expansion | boolean | true | | Whether to enable prompt expansion.
enable_safety_checker | boolean | true | | Whether to enable the safety checker.
video_quality | string | "high" | low, medium, high, maximum | The quality preset of the generated video.
video_write_mode | string | "balanced" | fast, balanced, small | The write mode of the generated video.
sync_mode | boolean | false | | If True, the media is returned as a data URI inline in the response. Useful for short-lived requests and tests.
""",
    INGREDIENT: """
prompt | string | required | | The prompt to guide the generated video. For best results, use a 'Reference sheet: ... Generated video: ...' structure.
image_url | string | required | | URL of the Ingredient reference sheet image. The sheet should contain clean panels for the characters, props, and location to preserve.
num_frames | integer | 121 | 9 to 481 | The number of frames to generate.
resolution | ImageSize, Enum | {"height":896,"width":1536} | | The final generated video size. The default keeps the workflow's first stage at the Ingredient LoRA's trained 768x448 bucket before the official 2x refinement stage.
frames_per_second | float | 24 | 1 to 60 | Frames per second of the generated video.
guidance_scale | float | 1 | 1 to 20 | Classifier-free guidance scale.
ingredient_strength | float | 1 | 0 to 2 | Strength of the built-in Ingredient IC-LoRA. Higher values make the reference sheet identities and props more dominant.
reference_strength | float | 1 | 0 to 2 | Strength of the reference-sheet guide. 1.0 uses the sheet fully; lower values give the model more freedom.
generate_audio | boolean | true | | Whether to include audio in the returned video. When disabled, the final MP4 is returned without an audio track.
negative_prompt | string | "worst quality, inconsistent motion, blurry, jittery, distorted" | | The negative prompt to steer generation away from.
seed | integer | none | | Random seed for reproducibility. If None, a random seed is chosen.
enable_prompt_expansion | boolean | true | | Whether to enable prompt expansion.
enable_safety_checker | boolean | true | | Whether to enable the safety checker.
video_quality | string | "high" | low, medium, high, maximum | The quality preset of the generated video.
video_write_mode | string | "balanced" | fast, balanced, small | The write mode of the generated video.
sync_mode | boolean | false | | If True, the media is returned as a data URI inline in the response. Useful for short-lived requests and tests.
""",
}  # fmt: skip
